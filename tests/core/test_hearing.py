"""Holders that hear no answer: the rows of the table in core/hearing.py, and what the leader makes of them."""

from desks import Desk

from sidecar.core.hearing import Hearing
from sidecar.core.timing import MS
from sidecar.messages.events import SlotMoved
from sidecar.messages.explain import ExplainReport, ExplainRequest
from sidecar.messages.health import Heartbeat

PATIENCE_NS = 1_500 * MS


def beat(seq: int, answered: int | None, run: str = "r1") -> Heartbeat:
    """A heartbeat that says which answer arrived last."""
    return Heartbeat(component="a", incarnation="a~1", seq=seq, ready=True, run=run, answered=answered)


def waiting() -> Hearing:
    """An answer to seq 5 was sent at 0."""
    hearing = Hearing(PATIENCE_NS)
    hearing.answered(beat(5, 4), 0)
    return hearing


def test_whoever_does_not_hear_for_its_patience_is_deaf() -> None:
    """Deafness counts from the first answer that was not heard, however many follow it."""
    hearing = waiting()
    hearing.hear(beat(6, 4))
    hearing.answered(beat(6, 4), 1_000 * MS)
    assert hearing.deaf_ns("a", PATIENCE_NS - 1) == 0
    assert hearing.deaf_ns("a", PATIENCE_NS) == PATIENCE_NS


def test_a_heard_answer_ends_it() -> None:
    """A heartbeat that names that answer or a later one shows that its sender hears."""
    hearing = waiting()
    hearing.hear(beat(7, 5))
    assert hearing.deaf_ns("a", 10 * PATIENCE_NS) == 0


def test_another_run_begins_anew() -> None:
    """A restarted sidecar is not blamed for what its predecessor did not hear."""
    hearing = waiting()
    hearing.hear(beat(1, 0, run="r2"))
    assert hearing.deaf_ns("a", 10 * PATIENCE_NS) == 0


def test_an_older_version_is_believed() -> None:
    """A sidecar that does not say what it heard is never called deaf."""
    hearing = Hearing(PATIENCE_NS)
    hearing.answered(beat(5, None), 0)
    assert hearing.deaf_ns("a", 10 * PATIENCE_NS) == 0


def live(desk: Desk, ms: int, *deaf: str) -> None:
    """Both members' heartbeats come; what `deaf` ones have heard no longer grows."""
    for _ in range(ms // 250):
        for each in ("exec-a", "exec-b"):
            heard = 4 if each in deaf else desk.seqs.get(each, 0)
            desk.hear(each, answered=heard)
        desk.tick(250)


def test_a_deaf_holder_loses_its_slot_like_a_silent_one() -> None:
    """A holder that sends heartbeats and hears none of the answers is renewed no longer, and succeeded L later."""
    desk = Desk()
    live(desk, 1_000)
    assert desk.holder() == "exec-a"
    live(desk, 3_000, "exec-a")
    assert desk.holder() == "exec-a"
    desk.queue(ExplainRequest(request_id="r", actor="dana", group="execution"))
    said = desk.replies(ExplainReport)[-1].members[0].obstacles
    assert any("heard no answer" in each for each in said)
    live(desk, 500, "exec-a")
    assert desk.holder() == "exec-b"


def test_a_leader_in_doubt_of_itself_calls_nobody_deaf() -> None:
    """Answers that a stalled journal held back do not cost their receivers the slot."""
    desk = Desk()
    live(desk, 1_000)
    desk.reading = False
    live(desk, 3_000, "exec-a")
    desk.reading = True
    desk.read_back()
    live(desk, 250, "exec-a")
    assert desk.lease_of("exec-a").slots
    live(desk, 3_000)
    assert desk.holder() == "exec-a"


def test_a_silent_holder_is_not_called_deaf() -> None:
    """A holder whose heartbeats stop has not confirmed its last answer either; it is said to be silent."""
    desk = Desk()
    live(desk, 5_000)
    for _ in range(16):
        desk.hear("exec-b", answered=desk.seqs.get("exec-b", 0))
        desk.tick(250)
    assert desk.events(SlotMoved)[-1].cause == "silence: the lease ran out"
    desk.queue(ExplainRequest(request_id="e", actor="dana", group="execution"))
    (explained,) = (each for each in desk.replies(ExplainReport)[-1].members if each.component == "exec-a")
    assert not any("it sends heartbeats" in each for each in explained.obstacles)
