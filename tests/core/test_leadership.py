"""Leadership: the rows of the table in core/leadership.py."""

from desks import Desk, halt, serving, settled_in, started

from sidecar.core.leadership import CAMPAIGN_PROBES, Standing
from sidecar.core.outputs import Origin, Resubscribe
from sidecar.core.timing import MS
from sidecar.messages.control import CommandResult, Probe, StatusRequest
from sidecar.messages.journal import Record, Ticked


def foreign(desk: Desk, record: Record) -> None:
    """Another author's record arrives in the log."""
    desk.journal.append(record)
    desk.read_back()


def test_a_nominee_campaigns_and_leads_when_its_start_is_read() -> None:
    """Leadership begins when the own TermStarted is read back, not when it is appended."""
    desk = Desk(lead=False)
    desk.reading = False
    desk.queue(Probe(arbiter=""))
    assert desk.standing.name == "CAMPAIGNING"
    desk.read_back()
    assert desk.standing.name == "LEADING"
    assert desk.facts() == ["TermStarted"]


def test_an_input_waits_for_leadership_and_is_then_answered() -> None:
    """What arrives during a campaign is decided once the arbiter leads, and acknowledged only then."""
    desk = Desk(lead=False)
    desk.reading = False
    desk.queue(StatusRequest(request_id="r", actor="dana"), handle=7)
    assert desk.sent == []
    desk.reading = True
    desk.read_back()
    assert desk.settled() == ["ack"]


def test_the_loser_of_a_race_hands_its_inputs_back() -> None:
    """When another arbiter's start of the same term is first, the loser follows and requeues what it held."""
    desk = Desk(lead=False)
    desk.reading = False
    desk.queue(Probe(arbiter=""))
    desk.journal.insert(0, started(1))
    desk.read_back()
    assert desk.core.desk.standing is Standing.FOLLOWING
    assert desk.settled() == ["requeue"]


def test_an_unanswered_campaign_is_given_up() -> None:
    """A campaign whose record is not read back in time ends, and its inputs are handed back."""
    desk = Desk(lead=False)
    desk.reading = False
    desk.queue(Probe(arbiter=""))
    desk.tick(CAMPAIGN_PROBES * 400)
    assert desk.core.desk.standing is Standing.FOLLOWING
    assert desk.settled() == ["requeue"]


def test_a_start_that_arrives_after_it_was_given_up_leads_nobody() -> None:
    """A TermStarted read after its campaign was given up makes no leader; the next campaign takes a new term."""
    desk = Desk(lead=False)
    desk.reading = False
    desk.queue(Probe(arbiter=""))
    desk.tick(CAMPAIGN_PROBES * 400)
    desk.read_back()
    assert desk.standing.name == "FOLLOWING"
    desk.reading = True
    desk.queue(Probe(arbiter=""))
    assert desk.standing.name == "LEADING"
    assert desk.core.desk.term == 2


def test_a_follower_probes_when_the_log_is_silent() -> None:
    """A follower that reads no record for probe_ns asks who is nominated, and does not while records come."""
    desk = Desk(lead=False)
    desk.tick(350)
    assert not desk.asked_nominee()
    desk.tick(100)
    assert desk.asked_nominee()
    desk.sent.clear()
    foreign(desk, started(1))
    desk.tick(350)
    assert not desk.asked_nominee()


def served(desk: Desk, ms: int) -> None:
    """Time passes while the broker brings this arbiter's canary round."""
    for _ in range(ms // 50):
        desk.do(desk.core.on_health(desk.core.canary(desk.now), Origin(), desk.now))
        desk.tick(50)


def test_a_standby_that_nobody_answers_campaigns_by_itself() -> None:
    """When the nominee is stopped, a standby whom the broker serves leads after twice probe_ns without a record."""
    desk = Desk(lead=False)
    served(desk, 100)
    foreign(desk, started(1))
    served(desk, 750)
    assert desk.asked_nominee()
    assert desk.standing.name == "FOLLOWING"
    served(desk, 100)
    assert desk.core.leading
    assert desk.core.desk.term == 2


def test_a_standby_that_the_broker_does_not_serve_deposes_nobody() -> None:
    """Without its own canary a standby cannot tell a dead leader from its own cut link, and only asks the nominee."""
    desk = Desk(lead=False)
    foreign(desk, started(1))
    desk.tick(5_000)
    assert desk.asked_nominee()
    assert desk.standing is Standing.FOLLOWING
    assert not any(isinstance(each, Resubscribe) for each in desk.sent)


def test_a_standby_that_was_stopped_itself_waits_anew() -> None:
    """A standby that wakes from a stop counts the silence from then on, because it was the one who did not hear."""
    desk = Desk(lead=False)
    served(desk, 100)
    foreign(desk, started(1))
    desk.now_ns += 10_000 * MS
    served(desk, 750)
    assert desk.standing.name == "FOLLOWING"
    served(desk, 100)
    assert desk.core.leading


def test_a_hung_tail_is_consumed_anew_before_anybody_is_deposed() -> None:
    """An arbiter that reads nothing though the broker serves it subscribes again, leader and standby alike, in time."""
    desk = Desk(lead=False)
    served(desk, 2_000)  # It came to lead, there being nobody else.
    assert desk.core.leading
    desk.sent.clear()
    desk.reading = False
    served(desk, 550)
    assert Resubscribe() not in desk.sent
    served(desk, 150)
    assert desk.sent.count(Resubscribe()) == 1
    served(desk, 1_500)
    assert desk.sent.count(Resubscribe()) == 1


def test_a_failed_campaign_of_its_own_is_not_repeated_at_once() -> None:
    """A standby whose own campaign is not read back gives others the time that it waited before."""
    desk = Desk(lead=False)
    desk.reading = False
    served(desk, 1_000)
    assert desk.standing.name == "CAMPAIGNING"
    served(desk, CAMPAIGN_PROBES * 400)
    assert desk.standing.name == "FOLLOWING"
    served(desk, 500)
    assert desk.standing.name == "FOLLOWING"
    served(desk, 400)
    assert desk.standing.name == "CAMPAIGNING"


def test_nothing_leaves_before_its_record_was_read_back() -> None:
    """Answers and acknowledgements of a decision wait until its record stands in the log."""
    desk = settled_in()
    desk.reading = False
    desk.queue(halt(), handle=3)
    assert desk.facts() == ["TermStarted", "HaltRaised"]
    assert desk.sent == []
    desk.read_back()
    assert [each.ok for each in desk.replies(CommandResult)] == [True]
    assert desk.settled() == ["ack"]


def test_a_deposed_leader_drops_its_answers_and_hands_back_what_it_took() -> None:
    """Behind a higher term a decision is void: its answers are dropped, its delivery requeued, its state rebuilt."""
    desk = Desk()
    desk.reading = False
    desk.queue(halt(), handle=3)
    desk.journal.insert(-1, started(2))
    desk.read_back()
    assert not desk.core.leading
    assert desk.replies(CommandResult) == []
    assert desk.settled() == ["requeue"]
    assert desk.core.state.halts == {}
    assert desk.core.desk.in_flight == ()


def test_a_record_of_a_lower_or_lost_term_deposes_nobody() -> None:
    """Void records of others leave a leader alone."""
    desk = Desk()
    foreign(desk, started(1))
    foreign(desk, Record(term=9, n=1, arbiter="arbiter-2#1", at_ns=0, fact=Ticked()))
    assert desk.core.leading


def test_the_leaders_lease_runs_from_sending() -> None:
    """Slow read-back shortens the time in which a leader may grant, because the lease counts from the append."""
    desk = Desk()
    desk.reading = False
    desk.now_ns += desk.timing.tick_ns
    desk.tick()
    sent_ns = desk.now_ns
    desk.now_ns += 900 * MS
    desk.reading = True
    desk.read_back()
    assert desk.core.desk.may_grant(desk.now)
    desk.now_ns = sent_ns + desk.timing.leader_lease_ns
    assert not desk.core.desk.may_grant(desk.now)


def test_a_leader_that_reads_nothing_stops_granting() -> None:
    """A leader whose journal stalls answers no heartbeat once its own lease has run out."""
    desk = serving()
    desk.reading = False
    desk.tick(1_100)
    desk.sent.clear()
    desk.hear("exec-a")
    desk.read_back()
    assert not any("Lease" in type(getattr(each, "message", None)).__name__ for each in desk.sent)


def test_a_leader_ticks_only_with_nothing_in_flight() -> None:
    """An idle leader appends one tick and then waits for it, so that a stalled journal is not filled with ticks."""
    desk = Desk()
    desk.reading = False
    before = len(desk.journal)
    desk.tick(5_000)
    assert len(desk.journal) == before + 1


def test_a_repeated_append_changes_nothing() -> None:
    """A record that was appended twice after a lost confirm counts once."""
    desk = serving()
    desk.journal.append(desk.journal[-1])
    position = desk.core.state.position
    desk.read_back()
    assert desk.core.leading
    assert desk.core.state.position == position


def test_lost_deliveries_are_not_answered_by_the_next_term() -> None:
    """Inputs whose link was lost during a campaign are forgotten, because they come again by themselves."""
    desk = Desk(lead=False)
    desk.reading = False
    desk.queue(halt())
    desk.core.on_lost()
    desk.reading = True
    desk.read_back()
    assert desk.core.leading
    assert desk.core.state.halts == {}
