"""The arbiter's core as a whole: crashes between append and answer, one fold for everybody, hostile input."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from desks import PAIR, Desk, fold, halt, intent, report, serving
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sidecar.core.groups import GroupPlan, Policy
from sidecar.core.outputs import Origin
from sidecar.core.timing import MS
from sidecar.messages.base import Message, SlotToken, Token
from sidecar.messages.codec import Malformed, decode, encode
from sidecar.messages.control import (
    FailoverRequest,
    PauseRequest,
    Probe,
    ResumeRequest,
    StatusRequest,
    TradingState,
    UnpauseRequest,
)
from sidecar.messages.events import OrderChanged, StatusReport
from sidecar.messages.explain import ExplainRequest, HistoryRequest
from sidecar.messages.health import Released
from sidecar.messages.orders import (
    Absence,
    Evidence,
    OrderAborted,
    OrderCommitted,
    OrderGranted,
    OrderUnknown,
)

RESTRAINED = (
    replace(
        PAIR[0],
        failback_ns=500 * MS,
        policy=Policy(
            min_active=1, block_window_ns=500 * MS, backoff_ns=200 * MS, backoff_max_ns=900 * MS, unready_ns=300 * MS
        ),
    ),
)
NUMBERS = st.sampled_from(
    [Decimal(n) for n in ("0", "-1", "1", "100", "NaN", "sNaN", "-Infinity", "1E+99999", "1E-99999")]
)
INTS = st.sampled_from([0, 1, -1, 2, 2**31, 2**63, 2**200, -(2**200)])
TEXTS = st.sampled_from(
    ["", "o1", "o2", "o3", "exec-a", "all", "symbol:XYZ", "\x00", "\u20ac", "x" * 300, "y" * 20_000]
)
IDS = st.sampled_from(["o1", "o2", "o3", ""])
TOKENS = st.builds(Token, st.one_of(st.just(1), INTS), st.one_of(st.just(1), INTS))
SANE = st.builds(intent, IDS)
MESSAGES: st.SearchStrategy[Any] = st.one_of(
    SANE,
    st.builds(intent, IDS, qty=NUMBERS, price=NUMBERS, token=TOKENS, symbol=TEXTS),
    st.builds(OrderCommitted, component=st.just("exec-a"), cl_ord_id=IDS, order_id=TEXTS, ord_status=st.just("NEW")),
    st.builds(OrderAborted, component=st.just("exec-a"), cl_ord_id=IDS, reason=TEXTS),
    st.builds(OrderUnknown, component=st.just("exec-a"), cl_ord_id=IDS, reason=TEXTS),
    st.builds(
        Evidence,
        reconciler=st.just("r"),
        source=st.just("query"),
        report=st.builds(
            report,
            IDS,
            cum_qty=NUMBERS,
            order_qty=NUMBERS,
            last_px=NUMBERS,
            exec_id=TEXTS,
            account=st.one_of(st.just("ACC"), TEXTS),
            exec_type=st.sampled_from(["NEW", "TRADE", "ORDER_STATUS"]),
        ),
    ),
    st.builds(Absence, reconciler=st.just("r"), venue=st.just("SIM"), cl_ord_id=IDS, query_id=TEXTS),
    st.builds(halt, TEXTS, TEXTS, level=st.sampled_from(TradingState), reason=TEXTS, actor=TEXTS, issued_ns=INTS),
    st.builds(ResumeRequest, request_id=TEXTS, halt_id=TEXTS, actor=TEXTS, reason=TEXTS),
    st.builds(
        FailoverRequest,
        request_id=TEXTS,
        group=st.just("execution"),
        actor=TEXTS,
        reason=TEXTS,
        to=st.sampled_from(["", "exec-b"]),
        dry_run=st.booleans(),
        holder=st.sampled_from(["", "exec-a", "nobody"]),
    ),
    st.builds(
        PauseRequest,
        request_id=TEXTS,
        group=st.sampled_from(["execution", ""]),
        actor=TEXTS,
        reason=TEXTS,
        duration_ns=st.one_of(INTS, st.just(3_000 * MS)),
    ),
    st.builds(UnpauseRequest, request_id=TEXTS, group=st.just("execution"), actor=TEXTS, reason=TEXTS),
    st.builds(StatusRequest, request_id=TEXTS, actor=TEXTS),
    st.builds(ExplainRequest, request_id=TEXTS, actor=TEXTS, group=st.one_of(st.just("execution"), TEXTS)),
    st.builds(HistoryRequest, request_id=TEXTS, actor=TEXTS, group=TEXTS, last=INTS),
    st.builds(Probe, arbiter=TEXTS),
)
BEATS = st.fixed_dictionaries(
    {"component": st.sampled_from(["exec-a", "exec-b", "stranger", ""])},
    optional={
        "seq": INTS,
        "run": TEXTS,
        "ready": st.booleans(),
        "incarnation": TEXTS,
        "control_version": INTS,
        "reasons": st.tuples(TEXTS),
        "unconfirmed_halts": st.tuples(st.builds(halt, TEXTS, TEXTS, actor=TEXTS, issued_ns=INTS)),
    },
)
RELEASES = st.builds(
    Released,
    component=st.sampled_from(["exec-a", "exec-b"]),
    incarnation=st.sampled_from(["exec-a~1", "exec-b~1", ""]),
    slots=st.tuples(st.builds(SlotToken, st.sampled_from(["execution/0", "other/9", ""]), TOKENS)),
    reason=TEXTS,
    ended=st.booleans(),
)
STEPS = st.lists(
    st.one_of(MESSAGES, BEATS, RELEASES, st.integers(0, 6_000), st.sampled_from(["stall", "read", "depose"])),
    max_size=30,
)


def wire(message: Message) -> Message:
    """As it arrives."""
    sender = getattr(message, message.SENDER)
    arrived = decode(encode(message), message.__struct_config__.tag, app_id=sender, user_id="operator")  # type: ignore[arg-type]
    assume(not (isinstance(arrived, Malformed) and arrived.code == "too-large"))  # Several of the longest texts.
    assert not isinstance(arrived, Malformed)
    return arrived


def step(desk: Desk, other: Desk, action: Any) -> None:
    """One arbitrary happening at the leading desk."""
    match action:
        case "stall":
            desk.reading = False
        case "read":
            desk.reading = True
            desk.read_back()
        case "depose":
            other.read_back()
            other.queue(Probe(arbiter=""))
        case int():
            desk.tick(action)
        case dict():
            fields = dict(action)
            desk.hear(fields.pop("component"), **fields)
        case Released():
            desk.do(desk.core.on_health(wire(action), Origin(), desk.now))  # type: ignore[arg-type]  # A Released.
        case _:
            desk.queue(wire(action), user="operator")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(STEPS, st.sampled_from([PAIR, RESTRAINED]))
def test_no_input_raises_and_all_folds_agree(steps: list[Any], plans: tuple[GroupPlan, ...]) -> None:
    """Whatever arrives, nothing raises, and leader, follower and a fresh reader of the journal fold the same state."""
    desk = serving(plans)
    other = Desk(plans, journal=desk.journal, name="arbiter-2", lead=False)
    for action in steps:
        step(desk, other, action)
    desk.reading = True
    desk.read_back()
    other.read_back()
    fresh = fold(desk.journal)
    for state in (desk.core.desk.log_state, other.core.desk.log_state):
        assert state.digest() == fresh.digest()
        assert (state.book.orders, state.book.counts()) == (fresh.book.orders, fresh.book.counts())
        assert (state.holders, state.halts, state.lifted) == (fresh.holders, fresh.halts, fresh.lifted)
        assert (state.last, state.degraded, state.paused) == (fresh.last, fresh.degraded, fresh.paused)
    if desk.core.leading:
        assert desk.core.state.digest() == fresh.digest()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(SANE, st.integers(0, 500), st.just("crash")), max_size=20), st.randoms(use_true_random=False))
def test_nothing_is_answered_that_is_not_in_the_log(steps: list[Any], dice: Any) -> None:
    """Crashes between append and answer: every grant that anybody was given stands in the journal."""
    desk = serving()
    told: set[str] = set()
    for action in steps:
        desk.reading = dice.random() < 0.5
        if action == "crash":
            lost = len(desk.journal) - dice.randint(0, len(desk.core.desk.in_flight))
            told |= {each.cl_ord_id for each in desk.replies(OrderGranted)}
            desk = Desk(journal=desk.journal[:lost], name=f"arbiter-{dice.random()}")
            desk.live(500, "exec-a")
        elif isinstance(action, int):
            desk.tick(action)
        else:
            desk.queue(action)
        told |= {each.cl_ord_id for each in desk.replies(OrderGranted)}
        assert told <= fold(desk.journal).book.orders.keys()


def test_a_crash_between_append_and_answer_loses_nothing() -> None:
    """The redelivered question is answered by the next arbiter from the journal, under the first grant."""
    first = serving()
    first.reading = False
    first.sent.clear()
    first.queue(intent())
    assert first.sent == []
    second = Desk(journal=first.journal, name="arbiter-2")
    second.queue(intent())
    (answer,) = second.replies(OrderGranted)
    assert (answer.term, answer.n) == (1, first.journal[-2].n)
    assert second.facts().count("OrderPrecommitted") == 1


def test_the_status_report_says_what_is_there() -> None:
    """A status report names holder, halts, sidecars and orders, and the digest of what was read."""
    desk = serving()
    desk.queue(intent())
    desk.queue(halt())
    desk.hear("exec-b", reasons=("r" * 5_000,) * 100)
    desk.queue(StatusRequest(request_id="r", actor="dana"))
    (said,) = desk.replies(StatusReport)
    assert said.digest == fold(desk.journal).digest()
    assert said.groups[0].slots[0].component == "exec-a"
    assert said.groups[0].slots[0].lease_left_ns > 1_000 * MS
    assert said.trading_state is TradingState.HALTED
    assert said.orders.granted == 1
    assert len(encode(said)) < 10_000


def test_a_message_for_somebody_else_is_acknowledged() -> None:
    """A known message that does not belong on the arbiters' queue is forgotten, not requeued for ever."""
    desk = Desk(PAIR)
    desk.queue(OrderGranted(arbiter="x", cl_ord_id="o1", term=1, n=1))
    assert desk.settled() == ["ack"]
    assert desk.events(OrderChanged) == []
