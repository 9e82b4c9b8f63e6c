"""Silence: what an arbiter doubts before it doubts a member, and what it says about members."""

from dataclasses import replace

import pytest
from desks import PAIR, Desk, serving

from sidecar.core.arbiter import Arbiter
from sidecar.core.groups import GroupPlan, Mode, plan_group
from sidecar.core.outputs import Origin
from sidecar.core.suspicion import Detection
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.control import Probe, StatusRequest
from sidecar.messages.detection import Canary, CorrelatedSilence, MemberHeard, MemberMissing, MemberSuspected
from sidecar.messages.events import StatusReport

FIVE = ("a", "b", "c", "d", "e")
WIDE = (plan_group("wide", Mode.N_PLUS_ONE, FIVE, active=2),)
HOLDER_WAIT_MS = 2_000


def detecting(detection: Detection, plans: tuple[GroupPlan, ...] = PAIR) -> Desk:
    """A leader with these rules of detection, whose members were heard for a while."""
    desk = Desk(plans, lead=False)
    desk.core = Arbiter(replace(desk.core.rules, detection=detection), "arbiter-1#1", desk.now)
    desk.queue(Probe(arbiter=""))
    desk.sent.clear()
    desk.live(5_000, *plans[0].members)
    return desk


def silence_ms(desk: Desk, *others: str, slot: str = "execution/0", limit_ms: int = 30_000) -> int:
    """How long until the slot's holder loses it, while the others go on; the limit when it does not."""
    started_ns, holder = desk.now_ns, desk.holder(slot)
    while desk.holder(slot) == holder and desk.now_ns - started_ns < limit_ms * MS:
        for each in others:
            desk.hear(each)
        for _ in range(5):
            desk.tick(50)
            if desk.holder(slot) != holder:
                break
    return (desk.now_ns - started_ns) // MS


def status(desk: Desk) -> StatusReport:
    """The leader's report."""
    desk.queue(StatusRequest(request_id="r", actor="dana"))
    return desk.replies(StatusReport)[-1]


# --- suspicion ranks and warns ---


@pytest.mark.parametrize("method", ["phi", "fixed"])
def test_suspicion_moves_nothing(method: str) -> None:
    """A suspected holder keeps its slot until L after its last grant, and loses it within half a second of that."""
    desk = detecting(Detection(method=method))  # type: ignore[arg-type]  # The parameter is one of the two.
    desk.live(1_500, "exec-b")
    assert status(desk).sidecars[0].suspected
    assert desk.holder() == "exec-a"
    assert HOLDER_WAIT_MS - 1_500 - 250 <= silence_ms(desk, "exec-b") <= HOLDER_WAIT_MS - 1_500 + 500
    assert desk.holder() == "exec-b"


def test_a_suspected_member_is_no_candidate() -> None:
    """A released slot goes past the suspected first choice to the member that is heard."""
    desk = serving((plan_group("execution", Mode.ACTIVE_PASSIVE, ("exec-a", "exec-b", "exec-c")),))
    desk.live(1_000, "exec-a", "exec-c")
    desk.release("exec-a", SlotToken("execution/0", Token(1, 1)))
    assert desk.holder() == "exec-c"


def test_each_change_is_told_once() -> None:
    """Suspected is told once, heard again is told once, and none of it is journaled."""
    desk = detecting(Detection())
    desk.live(3_000, "exec-a")
    (suspected,) = desk.events(MemberSuspected)
    assert (suspected.component, suspected.group, suspected.method) == ("exec-b", "execution", "phi")
    assert suspected.level >= 8.0
    assert 750 * MS < suspected.silent_ns < 1_000 * MS
    desk.live(3_000, "exec-a", "exec-b")
    (heard,) = desk.events(MemberHeard)
    assert heard.component == "exec-b"
    assert set(desk.facts()) == {"TermStarted", "SlotGranted"}


def test_a_shaky_rhythm_is_suspected_by_the_holders_wait_at_the_latest() -> None:
    """However irregular a member was, after L of silence it is suspected."""
    desk = serving()
    for n in range(100):
        desk.hear("exec-b")
        desk.live(250 if n % 2 else 1_750, "exec-a")
    assert desk.core.roster.fresh("exec-b", desk.now_ns) is not None
    desk.live(HOLDER_WAIT_MS, "exec-a")
    assert desk.core.roster.fresh("exec-b", desk.now_ns) is None


def test_a_restarted_sidecar_starts_with_a_clean_rhythm() -> None:
    """A new run's rhythm is learned anew: the old process's pauses are not its own."""
    desk = serving()
    for _ in range(50):
        desk.hear("exec-b", run="r1")
        desk.live(1_500, "exec-a")
    desk.hear("exec-b", run="r2", seq=1)
    desk.live(1_000, "exec-a")
    assert desk.core.roster.suspected("exec-b", desk.now_ns)


def test_who_was_never_heard_is_missing_after_the_deadline() -> None:
    """A configured member that never spoke is reported once, keeps nobody waiting, and its first word ends it."""
    desk = Desk()
    desk.live(9_750, "exec-a")
    assert (desk.holder(), desk.events(MemberMissing), status(desk).missing) == ("exec-a", [], ())
    desk.live(1_000, "exec-a")
    (missing,) = desk.events(MemberMissing)
    assert missing.component == "exec-b"
    assert missing.waited_ns >= 10_000 * MS
    assert status(desk).missing == ("exec-b",)
    assert desk.events(MemberSuspected) == []
    desk.live(500, "exec-a", "exec-b")
    assert [each.component for each in desk.events(MemberHeard)] == ["exec-b"]
    assert status(desk).missing == ()


# --- the arbiter doubts itself first ---


def test_an_arbiter_that_slept_learns_first() -> None:
    """After a pause of its own an arbiter gives everyone the learning time, and raises no alarm meanwhile."""
    desk = serving()
    desk.now_ns += 600 * MS  # Still within the leader's own lease: the journal did not stall.
    desk.tick()
    assert "stopped or starved" in status(desk).silence_unjudged
    assert desk.events(MemberSuspected) == []
    assert silence_ms(desk, "exec-b") >= HOLDER_WAIT_MS


@pytest.mark.parametrize("learning_ms", [500, 6_000])
def test_the_learning_time_is_configured(learning_ms: int) -> None:
    """After a journal outage that outlived every lease a silent holder keeps its slot for the learning time."""
    desk = detecting(Detection(learning_ns=learning_ms * MS))
    desk.reading = False
    desk.live(5_000, "exec-b")
    desk.reading = True
    desk.read_back()
    desk.tick()
    assert desk.holder() == "exec-a"
    assert learning_ms - 250 <= silence_ms(desk, "exec-b") <= learning_ms + 250


def test_a_lost_canary_stops_judgement() -> None:
    """While its own canary does not come round an arbiter judges nobody; once it does, after the learning time."""
    desk = serving()
    desk.core.canary(desk.now)
    desk.live(8_000, "exec-b")
    assert desk.holder() == "exec-a"
    assert "canary is late" in status(desk).silence_unjudged
    assert desk.events(MemberSuspected) == []
    for _ in range(7):
        sing(desk)
        desk.live(250, "exec-b")
    assert desk.holder() == "exec-a"
    for _ in range(3):
        sing(desk)
        desk.live(250, "exec-b")
    assert desk.holder() == "exec-b"


def test_a_canary_in_time_changes_nothing() -> None:
    """An arbiter that hears itself judges as one that was never asked to."""
    desk = serving()
    for _ in range(9):
        sing(desk)
        desk.live(250, "exec-b")
    assert desk.holder() == "exec-b"
    assert status(desk).silence_unjudged == ""


def test_a_late_canary_is_as_bad_as_a_lost_one() -> None:
    """Canaries that come, but each a second after it was sent, show a backlog: nobody is judged."""
    desk = serving()
    under_way: list[Canary] = []
    for _ in range(40):
        under_way.append(desk.core.canary(desk.now))
        if len(under_way) > 4:
            desk.do(desk.core.on_health(under_way.pop(0), Origin(), desk.now))
        desk.live(250, "exec-b")
    assert desk.holder() == "exec-a"


def test_only_its_own_canary_counts() -> None:
    """Another arbiter's canary, an earlier run's and one that was never sent prove nothing."""
    desk = serving()
    for _ in range(4):
        own = desk.core.canary(desk.now)
        for strange in (by(own, "arbiter-2#1"), by(own, "arbiter-1#0"), numbered(own, 99), numbered(own, -1)):
            desk.do(desk.core.on_health(strange, Origin(), desk.now))
        desk.live(250, "exec-a", "exec-b")
    assert "canary is late" in status(desk).silence_unjudged


def sing(desk: Desk) -> None:
    """A canary that comes round at once."""
    desk.do(desk.core.on_health(desk.core.canary(desk.now), Origin(), desk.now))


def by(canary: Canary, author: str) -> Canary:
    """The same from somebody else."""
    return Canary(arbiter=author.partition("#")[0], author=author, seq=canary.seq)


def numbered(canary: Canary, number: int) -> Canary:
    """Another one of the same arbiter."""
    return Canary(arbiter=canary.arbiter, author=canary.author, seq=number)


# --- many at once ---


def test_nobody_fails_over_for_a_correlated_silence() -> None:
    """Three of five that fall silent together keep their slots until the limit; then silence is judged as ever."""
    desk = detecting(Detection(correlated_max_ns=6_000 * MS), WIDE)
    assert (desk.holder("wide/0"), desk.holder("wide/1")) == ("a", "b")
    waited_ms = silence_ms(desk, "d", "e", slot="wide/0")
    assert 6_500 <= waited_ms <= 7_000
    desk.live(1_000, "d", "e")
    began, overdue = desk.events(CorrelatedSilence)
    assert (began.change, began.components, began.silent) == ("BEGAN", ("a", "b", "c"), 3)
    assert (overdue.change, overdue.lasted_ns >= 6_000 * MS) == ("OVERDUE", True)
    assert {desk.holder("wide/0"), desk.holder("wide/1")} == {"d", "e"}


def test_a_correlated_silence_is_reported() -> None:
    """While it lasts the status names who fell silent together, and each of them is alerted as suspected."""
    desk = detecting(Detection(), WIDE)
    desk.live(4_000, "d", "e")
    assert "3 sidecars fell silent together: a, b, c" in status(desk).silence_unjudged
    assert [each.component for each in desk.events(MemberSuspected)] == ["a", "b", "c"]


def test_whoever_returns_after_a_correlated_silence_keeps_its_slot() -> None:
    """When the broker heals, the first heartbeat renews the old lease under the old token; the rest get time."""
    desk = detecting(Detection(), WIDE)
    desk.live(4_000, "d", "e")
    desk.live(1_000, "b", "c", "d", "e")
    assert [each.change for each in desk.events(CorrelatedSilence)] == ["BEGAN", "ENDED"]
    assert "has just ended" in status(desk).silence_unjudged
    assert desk.holder("wide/0") == "a"
    desk.live(1_000, *FIVE)
    assert desk.core.state.holders["wide/0"].token == Token(1, 1)
    assert desk.lease_of("a").slots == (SlotToken("wide/0", Token(1, 1)),)


def test_one_that_stays_away_after_a_correlated_silence_is_judged() -> None:
    """Once the others are back, the one that is not loses its slot after the learning time."""
    desk = detecting(Detection(), WIDE)
    desk.live(4_000, "d", "e")
    assert HOLDER_WAIT_MS <= silence_ms(desk, "b", "c", "d", "e", slot="wide/0") <= HOLDER_WAIT_MS + 500


def test_single_silences_do_not_add_up() -> None:
    """Members that die one after the other are each failed over at their own time."""
    desk = detecting(Detection(), WIDE)
    assert silence_ms(desk, "b", "c", "d", "e", slot="wide/0") <= HOLDER_WAIT_MS + 500
    assert silence_ms(desk, "c", "d", "e", slot="wide/1") <= HOLDER_WAIT_MS + 500
    assert desk.events(CorrelatedSilence) == []


def test_stopped_on_purpose_is_not_silent() -> None:
    """Members that said goodbye are no silence: the one that dies beside them is failed over at its own time."""
    desk = detecting(Detection(), WIDE)
    for each, slot in (("c", "wide/9"), ("d", "wide/9"), ("a", "wide/0")):
        desk.release(each, SlotToken(slot, Token(1, 1)))
    assert desk.holder("wide/0") == "e"
    assert silence_ms(desk, "e", slot="wide/1", limit_ms=3_000) <= HOLDER_WAIT_MS + 500
    assert desk.events(CorrelatedSilence) == []


def test_a_new_leader_tells_anew() -> None:
    """Whoever is suspected when a leader begins is told by that leader too."""
    desk = detecting(Detection())
    desk.live(2_000, "exec-a")
    other = Desk(journal=desk.journal, name="arbiter-2", lead=False)
    other.hear("exec-b")
    other.live(3_000, "exec-a")
    assert other.events(MemberSuspected) == []
    other.queue(Probe(arbiter=""))
    other.live(1_000, "exec-a")
    assert [each.component for each in other.events(MemberSuspected)] == ["exec-b"]
    desk.read_back()
    desk.queue(Probe(arbiter=""))
    desk.live(1_000, "exec-a")
    assert [each.component for each in desk.events(MemberSuspected)] == ["exec-b", "exec-b"]
