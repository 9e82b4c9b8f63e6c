"""When the arbiters' digests can be compared, and what is said of them."""

from sidecar.cli.compare import compared
from sidecar.messages.arbiters import ArbiterStatus


def told(arbiter: str, digest: str, digest_offset: int, silent_ns: int = 0) -> ArbiterStatus:
    """One arbiter's row."""
    return ArbiterStatus(
        arbiter=arbiter,
        standing="following",
        term=1,
        offset=digest_offset,
        behind=0,
        lag_ns=0,
        silent_ns=silent_ns,
        digest=digest,
        digest_offset=digest_offset,
    )


def test_what_was_known_before_is_no_answer() -> None:
    """Digests of an earlier mark are not taken for those that were asked for."""
    found = compared((told("arbiter-1", "aa", 7), told("arbiter-2", "aa", 7)), before=7)
    assert found.waiting == ("arbiter-1", "arbiter-2")
    assert not found.digests


def test_everybody_who_runs_is_waited_for() -> None:
    """Who has not told its digest yet is waited for, unless it was silent for long."""
    rows = (told("arbiter-1", "aa", 9), told("arbiter-2", "aa", 7), told("arbiter-3", "aa", 7, silent_ns=6 * 10**9))
    assert compared(rows, before=7).waiting == ("arbiter-2",)


def test_a_difference_shows() -> None:
    """Two digests of one record are two, and a digest of another record is not compared with them."""
    rows = (told("arbiter-1", "aa", 9), told("arbiter-2", "bb", 9), told("arbiter-3", "cc", 11))
    assert compared(rows, before=7).digests == {"aa", "bb"}
