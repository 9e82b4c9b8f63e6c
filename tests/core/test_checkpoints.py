"""When the folded state is taken, and what an arbiter does whose digest is another."""

import pytest
from desks import Desk, fold, halt

from sidecar.core import checkpoints
from sidecar.core.checkpoints import OLD_NS, SnapshotRule
from sidecar.core.outputs import Event, Origin, TakeSnapshot
from sidecar.core.snapshot import Taken
from sidecar.core.tables import form
from sidecar.core.timing import MS
from sidecar.messages.arbiters import CompareRequest, StateDiffers
from sidecar.messages.control import CommandResult, PauseRequest, StatusRequest
from sidecar.messages.events import StatusReport
from sidecar.messages.journal import SnapshotDigested, SnapshotMarked

RULE = SnapshotRule(records=5, interval_ns=2_000 * MS)


def taken(desk: Desk) -> list[Taken]:
    """What the shell was told to take, oldest first."""
    return [each.taken for each in desk.sent if isinstance(each, TakeSnapshot)]


def marks(desk: Desk) -> int:
    """Marks in the journal."""
    return sum(isinstance(each.fact, SnapshotMarked) for each in desk.journal)


def until_taken(desk: Desk) -> Taken:
    """Let time pass until the leader has taken its state."""
    for _ in range(100):
        desk.live(250, "exec-a", "exec-b")
        if found := taken(desk):
            return found[-1]
    raise AssertionError("nothing was taken")


def test_a_leader_marks_after_enough_records_and_time() -> None:
    """A mark follows when both the records and the interval have passed, and not before either has."""
    desk = Desk(snapshots=RULE)
    desk.live(1_750, "exec-a", "exec-b")
    assert len(desk.journal) > RULE.records
    assert marks(desk) == 0
    desk.live(500, "exec-a", "exec-b")
    assert marks(desk) == 1
    desk.live(1_500, "exec-a", "exec-b")
    assert marks(desk) == 1
    desk.live(500, "exec-a", "exec-b")
    assert marks(desk) == 2


def test_no_rule_is_no_mark() -> None:
    """Without a number of records there is never a mark."""
    desk = Desk()
    desk.live(200_000, "exec-a", "exec-b")
    assert marks(desk) == 0


def test_every_arbiter_takes_the_same_state_and_only_the_leader_writes_it() -> None:
    """Leader and standby take the state behind one and the same record, and only the leader's is to be written."""
    desk = Desk(snapshots=RULE)
    other = Desk(journal=desk.journal, name="arbiter-2", lead=False, snapshots=RULE)
    ours = until_taken(desk)
    other.now_ns = desk.now_ns
    other.read_back()
    theirs = taken(other)[-1]
    at = [isinstance(each.fact, SnapshotMarked) for each in desk.journal].index(True)
    assert (ours.offset, theirs.offset) == (at, at)
    assert (ours.write, theirs.write) == (True, False)
    assert ours.state.digest() == theirs.state.digest() == fold(desk.journal[: at + 1]).digest()


def test_what_is_taken_does_not_change() -> None:
    """What the leader decides later is not in the state that it took."""
    desk = Desk(snapshots=RULE)
    ours = until_taken(desk)
    before = ours.state.digest()
    desk.live(5_000, "exec-b")
    assert ours.state.digest() == before != desk.core.state.digest()


def test_what_is_decided_and_not_read_back_is_not_taken() -> None:
    """A leader takes what the log says behind its mark, and not what it has decided since."""
    desk = Desk(snapshots=RULE)
    desk.live(1_750, "exec-a", "exec-b")
    desk.reading = False
    desk.live(500, "exec-a", "exec-b")
    desk.queue(halt("h1"))
    desk.read_back()
    at = [isinstance(each.fact, SnapshotMarked) for each in desk.journal].index(True)
    assert desk.core.state.halts
    assert taken(desk)[0].state.digest() == fold(desk.journal[: at + 1]).digest()


def test_an_old_mark_is_passed_by() -> None:
    """Whoever reads a mark long after it was written takes nothing."""
    desk = Desk(snapshots=RULE)
    until_taken(desk)
    late = Desk(journal=[], name="arbiter-2", lead=False, snapshots=RULE)
    late.journal, late.now_ns = desk.journal, desk.now_ns + OLD_NS + 1
    late.read_back()
    assert taken(late) == []


def test_the_same_digest_is_peace() -> None:
    """A standby that computes what the journal says goes on, whichever it learns first."""
    for first in ("own", "journal"):
        desk = Desk(snapshots=RULE)
        other = Desk(journal=desk.journal, name="arbiter-2", lead=False, snapshots=RULE)
        ours = until_taken(desk)
        other.now_ns = desk.now_ns
        if first == "own":
            other.read_back()
        desk.do(desk.core.on_digest(ours, ours.state.digest(), desk.now))
        other.read_back()
        theirs = taken(other)[-1]
        other.do(other.core.on_digest(theirs, theirs.state.digest(), other.now))
        digested = SnapshotDigested(term=1, n=ours.state.position.n, digest=ours.state.digest(), form=form())
        assert digested in [each.fact for each in desk.journal]
        assert other.core.checkpoints.differs == desk.core.checkpoints.differs == ""


def test_another_digest_ends_whoever_has_it() -> None:
    """A standby with another digest than the journal's tells it once and must stop; the leader goes on."""
    desk = Desk(snapshots=RULE)
    other = Desk(journal=desk.journal, name="arbiter-2", lead=False, snapshots=RULE)
    ours = until_taken(desk)
    desk.do(desk.core.on_digest(ours, ours.state.digest(), desk.now))
    other.now_ns = desk.now_ns
    other.read_back()
    theirs = taken(other)[-1]
    theirs.state.control_version += 1
    other.do(other.core.on_digest(theirs, theirs.state.digest(), other.now))
    told = [each for each in other.events(StateDiffers) if each.offset == ours.offset]
    assert len(told) == 1
    assert (told[0].ours, told[0].journaled) == (theirs.state.digest(), ours.state.digest())
    assert str(ours.offset) in other.core.checkpoints.differs
    assert desk.core.checkpoints.differs == ""
    assert not any(isinstance(each, Event) and isinstance(each.message, StateDiffers) for each in desk.sent)


def test_other_fields_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest of a version that folds other fields says nothing, so that versions can follow each other."""
    desk = Desk(snapshots=RULE)
    other = Desk(journal=desk.journal, name="arbiter-2", lead=False, snapshots=RULE)
    ours = until_taken(desk)
    desk.do(desk.core.on_digest(ours, "another digest", desk.now))
    monkeypatch.setattr(checkpoints, "form", lambda: "another form")
    other.now_ns = desk.now_ns
    other.read_back()
    theirs = taken(other)[-1]
    other.do(other.core.on_digest(theirs, theirs.state.digest(), other.now))
    assert other.core.checkpoints.differs == ""


def test_a_deposed_leader_journals_no_digest() -> None:
    """A digest that is ready after its leader was deposed is compared and not written."""
    desk = Desk(snapshots=RULE)
    ours = until_taken(desk)
    other = Desk(journal=desk.journal, name="arbiter-2", snapshots=RULE)
    assert other.core.leading
    desk.read_back()
    assert not desk.core.leading
    length = len(desk.journal)
    desk.do(desk.core.on_digest(ours, ours.state.digest(), desk.now))
    assert len(desk.journal) == length


def test_a_restored_arbiter_leads_on() -> None:
    """An arbiter that stands on a snapshot and read the rest decides as one that read everything."""
    desk = Desk(snapshots=RULE)
    desk.queue(
        PauseRequest(request_id="p", group="execution", actor="x", reason="r", duration_ns=60_000 * MS), user="operator"
    )
    ours = until_taken(desk)
    desk.live(2_000, "exec-a", "exec-b")
    late = Desk(journal=[], name="arbiter-2", lead=False, snapshots=RULE)
    late.now_ns = desk.now_ns
    late.core.restore(ours, "digest", late.now)
    late.journal, late.read_to = desk.journal, ours.offset + 1
    late.read_back()
    assert late.core.desk.log_state.digest() == fold(desk.journal).digest()
    assert late.core.offset == len(desk.journal) - 1
    late.core.desk.nominate(late.now, "a test")
    late.do(late.core.desk.finish())
    assert late.core.leading
    assert late.holder() == "exec-a"
    left_ns = [each.core.pauses.status("execution", each.now) for each in (desk, late)]
    assert left_ns[0] == left_ns[1] is not None


def test_status_tells_of_every_arbiter() -> None:
    """The leader's report has each arbiter's standing, offset, lag and last digest, as their canaries told."""
    desk = Desk(snapshots=RULE)
    other = Desk(journal=desk.journal, name="arbiter-2", lead=False, snapshots=RULE)
    ours = until_taken(desk)
    desk.do(desk.core.on_digest(ours, ours.state.digest(), desk.now))
    other.now_ns = desk.now_ns
    other.read_back()
    other.core.warning = "a snapshot was damaged"
    behind = other.core.canary(other.now)
    desk.live(1_000, "exec-a", "exec-b")
    for canary in (behind, desk.core.canary(desk.now)):
        desk.do(desk.core.on_health(canary, Origin(), desk.now))
    desk.sent.clear()
    desk.queue(StatusRequest(request_id="r", actor="exec-a"))
    first, second = desk.replies(StatusReport)[-1].arbiters
    assert (first.arbiter, first.standing, first.behind) == ("arbiter-1", "leading", 0)
    assert (first.digest, first.digest_offset) == (ours.state.digest(), ours.offset)
    assert (second.arbiter, second.standing) == ("arbiter-2", "following")
    assert second.behind == len(desk.journal) - 1 - second.offset > 0
    assert 0 < second.lag_ns <= 1_000 * MS
    assert second.warning == "a snapshot was damaged"


def test_an_operator_asks_for_a_comparison() -> None:
    """An operator's request marks the journal at once, nobody else's does, and a second one has to wait."""
    desk = Desk()
    desk.live(1_000, "exec-a", "exec-b")
    assert answer(desk, "mallory").code == "REFUSED"
    assert marks(desk) == 0
    assert answer(desk, "operator").code == "MARKED"
    assert marks(desk) == 1
    assert answer(desk, "operator").code == "REFUSED"
    assert marks(desk) == 1
    desk.live(6_000, "exec-a", "exec-b")
    assert answer(desk, "operator").code == "MARKED"


def answer(desk: Desk, user: str) -> CommandResult:
    """What this broker user is answered."""
    desk.queue(CompareRequest(request_id="c", actor=user), user=user)
    return desk.replies(CommandResult)[-1]


@pytest.mark.parametrize("same", [True, False])
def test_a_snapshot_to_begin_with_is_held_to_the_journal(same: bool) -> None:
    """An arbiter that stands on a snapshot ends when the journal says another digest of that very state."""
    desk = Desk(snapshots=RULE)
    ours = until_taken(desk)
    desk.do(desk.core.on_digest(ours, ours.state.digest(), desk.now))
    late = Desk(journal=[], name="arbiter-2", lead=False, snapshots=RULE)
    late.core.restore(ours, ours.state.digest() if same else "another", desk.now)
    late.journal, late.read_to, late.now_ns = desk.journal, ours.offset + 1, desk.now_ns
    late.read_back()
    assert (late.core.checkpoints.differs == "") is same
