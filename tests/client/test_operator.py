"""The operator's side of halts and requests, against a peer that plays the arbiter and the sidecars."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from sidecar.broker.interface import Delivery, Outgoing, Subscription
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import ARBITER_QUEUE, QUEUES, control_queue
from sidecar.client.halt_progress import HaltProgress, HaltTally
from sidecar.client.operator import NoAnswer, Operator, Refused
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import Malformed, decode, encode
from sidecar.messages.control import (
    CommandResult,
    FailoverRequest,
    Halt,
    HaltAccepted,
    PauseRequest,
    ResumeRequest,
    StatusRequest,
    TradingState,
    UnpauseRequest,
)
from sidecar.messages.events import HaltStatus, OrderCounts, SidecarStatus, StatusReport
from sidecar.messages.explain import ExplainReport, ExplainRequest, HistoryReport, HistoryRequest
from sidecar.messages.measures import MeasureOutcome, MeasuresReport

ARBITER = "arbiter-1"


@dataclass
class Peer:
    """One arbiter and the sidecars of `components`; those in `deaf` are in the roster but never acknowledge."""

    broker: MemoryBroker
    components: tuple[str, ...]
    deaf: tuple[str, ...] = ()
    deaf_requests: int = 0
    result_ok: bool = True
    incomplete: int = 0
    heard: list[Message] = field(default_factory=list)
    fanned_out: int = 0

    def __post_init__(self) -> None:
        queue = next(each for each in QUEUES if each.name == ARBITER_QUEUE)
        self.broker.subscribe(Subscription(queue=queue, on_delivery=self._arbiter))
        self.broker.subscribe(
            Subscription(queue=control_queue("all", "1"), on_delivery=self._sidecars, no_ack=True), control=True
        )

    def _arbiter(self, delivery: Delivery) -> None:
        message = self._read(delivery)
        delivery.ack()
        if self.deaf_requests > 0:
            self.deaf_requests -= 1
            return
        self.heard.append(message)
        match message:
            case StatusRequest(request_id=request_id):
                self._answer(delivery, self._status(request_id))
            case (
                ResumeRequest(request_id=request_id)
                | FailoverRequest(request_id=request_id)
                | PauseRequest(request_id=request_id)
                | UnpauseRequest(request_id=request_id)
            ):
                self._answer(delivery, self._result(request_id))
            case HistoryRequest(request_id=request_id):
                self._answer(delivery, HistoryReport(arbiter=ARBITER, request_id=request_id, failovers=()))
            case ExplainRequest(request_id=request_id, group="execution"):
                report = ExplainReport(
                    arbiter=ARBITER, request_id=request_id, term=1, group="execution", mode="m", slots=(), members=()
                )
                self._answer(delivery, report)
            case ExplainRequest(request_id=request_id):
                self._answer(delivery, self._result(request_id, ok=False))
            case Halt(halt_id=halt_id):
                self._answer(delivery, self._result(halt_id))

    def _sidecars(self, delivery: Delivery) -> None:
        message = self._read(delivery)
        assert isinstance(message, Halt)
        self.fanned_out += 1
        for number, component in enumerate(self.components):
            if component not in self.deaf:
                accepted = HaltAccepted(
                    component=component,
                    incarnation=f"{component}-1",
                    halt_id=message.halt_id,
                    closed_ns=10**18 + self.fanned_out * 1000 + number,
                    in_scope=component != "bystander",
                    trading_state=message.level,
                )
                self._answer(delivery, accepted, app_id=component)
                if message.measures:
                    self._answer(delivery, self._report(component, message.halt_id), app_id=component)

    def _report(self, component: str, halt_id: str) -> MeasuresReport:
        done = (MeasureOutcome(measure="cancel", state="done"),)
        return MeasuresReport(
            component=component,
            incarnation=f"{component}-1",
            halt_id=halt_id,
            n=self.fanned_out,
            completed=True,
            outcomes=done,
        )

    def _read(self, delivery: Delivery) -> Message:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        assert not isinstance(message, Malformed)
        return message

    def _answer(self, delivery: Delivery, message: Message, app_id: str = ARBITER) -> None:
        self.broker.post(
            Outgoing(
                exchange="",
                routing_key=delivery.reply_to,
                body=encode(message),
                type=message_type(message),
                app_id=app_id,
            )
        )

    def _result(self, request_id: str, *, ok: bool | None = None) -> CommandResult:
        ok = self.result_ok if ok is None else ok
        return CommandResult(arbiter=ARBITER, request_id=request_id, ok=ok, code="DONE", text="as asked")

    def _standing(self, halt: Halt) -> HaltStatus:
        """Each question finds one component more to be complete."""
        self.incomplete -= 1
        return HaltStatus(
            halt_id=halt.halt_id,
            level=halt.level,
            scopes=halt.scopes,
            reason=halt.reason,
            actor=halt.actor,
            age_ns=0,
            measures=halt.measures,
            concerned_count=len(self.components),
            incomplete_count=max(0, self.incomplete),
        )

    def _status(self, request_id: str) -> StatusReport:
        return StatusReport(
            halt_status=tuple(self._standing(each) for each in self.heard if isinstance(each, Halt)),
            arbiter=ARBITER,
            request_id=request_id,
            term=1,
            offset=0,
            digest="",
            trading_state=TradingState.ACTIVE,
            control_version=0,
            halts=(),
            groups=(),
            sidecars=tuple(
                SidecarStatus(
                    component=each,
                    group="g",
                    incarnation=f"{each}-1",
                    ready=True,
                    role="STANDBY",
                    control_version=0,
                    silent_ns=0,
                    lease_left_ns=0,
                )
                for each in self.components
            ),
            orders=OrderCounts(),
        )


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
async def operator(hub: MemoryHub) -> AsyncIterator[Operator]:
    broker = MemoryBroker(hub, name="operator", user="ops")
    operator = Operator(broker, "alice")
    await broker.start()
    yield operator
    await broker.close()


async def peer(hub: MemoryHub, *components: str, deaf: tuple[str, ...] = (), deaf_requests: int = 0) -> Peer:
    broker = MemoryBroker(hub, name="peer")
    found = Peer(broker, components, deaf=deaf, deaf_requests=deaf_requests)
    await broker.start()
    return found


async def test_halt_counts_everyone(hub: MemoryHub, operator: Operator) -> None:
    """A halt is complete when it is journaled and every sidecar of the roster acknowledged it."""
    await peer(hub, "a", "b", "bystander")
    seen: list[HaltProgress] = []
    progress = await operator.halt(("all",), TradingState.HALTED, "test", on_progress=seen.append)
    assert progress.complete
    assert progress.missing == ()
    assert [each.component for each in progress.closed] == ["a", "b"]
    assert progress.last_closed_ns == progress.accepted["b"].closed_ns - progress.issued_ns
    assert [len(each.accepted) for each in seen] == sorted(len(each.accepted) for each in seen)
    assert not seen[0].complete


async def test_halt_names_the_silent(hub: MemoryHub, operator: Operator) -> None:
    """A halt that somebody does not acknowledge is repeated, ends with the wait, and names who is missing."""
    found = await peer(hub, "a", "b", deaf=("b",))
    progress = await operator.halt(("all",), TradingState.HALTED, "test", timeout_s=0.6)
    assert not progress.complete
    assert [each.component for each in progress.missing] == ["b"]
    assert found.fanned_out >= 2
    first_ns = 10**18 + 1000
    assert progress.accepted["a"].closed_ns == first_ns  # Repetitions do not change what was counted first.


async def test_halt_without_an_arbiter(hub: MemoryHub, operator: Operator) -> None:
    """Without an arbiter a halt still reaches the sidecars, and says that nothing was journaled."""
    found = await peer(hub, "a", deaf_requests=1_000)
    progress = await operator.halt(("all",), TradingState.HALTED, "test", timeout_s=0.3)
    assert found.fanned_out >= 1
    assert set(progress.accepted) == {"a"}
    assert progress.journaled is None
    assert progress.roster is None
    assert not progress.complete


async def test_refused_halt(hub: MemoryHub, operator: Operator) -> None:
    """A halt that the arbiter does not journal is answered, and is not complete."""
    found = await peer(hub, "a")
    found.result_ok = False
    progress = await operator.halt(("all",), TradingState.HALTED, "test")
    assert progress.answered
    assert not progress.complete


async def test_measures(hub: MemoryHub, operator: Operator) -> None:
    """A halt with measures is waited for until the arbiter has found every one complete, whatever the sidecars say."""
    found = await peer(hub, "a", "b")
    found.incomplete = 3
    seen: list[HaltProgress] = []
    progress = await operator.halt(
        ("all",), TradingState.HALTED, "test", measures=("cancel",), on_progress=seen.append, timeout_s=10.0
    )
    assert progress.over
    assert progress.completed
    assert set(progress.reports) == {"a", "b"}
    unjudged = [each for each in seen if set(each.reports) == {"a", "b"} and each.complete and not each.completed]
    assert unjudged


async def test_no_wait(hub: MemoryHub, operator: Operator) -> None:
    """Without the wait it ends once the arbiter has spoken, and claims nothing of what is still open."""
    await peer(hub, "a", "b", deaf=("b",))
    progress = await operator.halt(("all",), TradingState.HALTED, "test", measures=("cancel",), wait=False)
    assert progress.told
    assert not progress.completed
    assert [each.component for each in progress.missing] == ["b"]


def test_reports_in_any_order() -> None:
    """The latest report of a component counts, whatever comes after it."""
    halt = Halt(halt_id="h", scopes=("all",), level=TradingState.HALTED, reason="test", actor="alice")
    tally = HaltTally(halt, 0)
    for n in (2, 1, 3, 2):
        tally.report(MeasuresReport(component="a", incarnation="a-1", halt_id="h", n=n, completed=False, outcomes=()))
    assert tally.progress().reports["a"].n == 3


async def test_bad_halt(operator: Operator) -> None:
    """A halt that nobody would accept is refused before it is sent, with the mend."""
    with pytest.raises(ValueError, match="scope 'everything'"):
        await operator.halt(("everything",), TradingState.HALTED, "test")


async def test_requests(hub: MemoryHub, operator: Operator) -> None:
    """Status, resume and failover are answered, and carry who asks and why."""
    found = await peer(hub, "a")
    assert (await operator.status()).arbiter == ARBITER
    assert (await operator.resume("h-1", "over")).ok
    assert (await operator.failover("execution", "drill", to="b")).ok
    resume, failover = found.heard[-2:]
    assert isinstance(resume, ResumeRequest)
    assert (resume.actor, resume.halt_id, resume.reason) == ("alice", "h-1", "over")
    assert isinstance(failover, FailoverRequest)
    assert (failover.group, failover.to, failover.reason) == ("execution", "b", "drill")


async def test_questions(hub: MemoryHub, operator: Operator) -> None:
    """Explain and history are answered with their reports, and a refusal is an error with the arbiter's sentence."""
    found = await peer(hub, "a")
    assert (await operator.explain("execution")).group == "execution"
    assert (await operator.history("execution", last=3)).failovers == ()
    asked = found.heard[-1]
    assert isinstance(asked, HistoryRequest)
    assert (asked.actor, asked.group, asked.last) == ("alice", "execution", 3)
    with pytest.raises(Refused, match="as asked"):
        await operator.explain("executon")


async def test_pauses(hub: MemoryHub, operator: Operator) -> None:
    """Pause and unpause carry the group, who asks, why and for how long."""
    found = await peer(hub, "a")
    assert (await operator.pause("execution", "network works", 90.0)).ok
    assert (await operator.unpause("execution", "over")).ok
    pause, unpause = found.heard[-2:]
    assert isinstance(pause, PauseRequest)
    assert (pause.group, pause.actor, pause.reason, pause.duration_ns) == (
        "execution",
        "alice",
        "network works",
        90 * 10**9,
    )
    assert isinstance(unpause, UnpauseRequest)
    assert unpause.reason == "over"


async def test_request_is_repeated(hub: MemoryHub, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that got no answer is sent again under the same id."""
    monkeypatch.setattr("sidecar.client.operator.REQUEST_REPEAT_S", 0.01)
    await peer(hub, "a", deaf_requests=3)
    async with asyncio.timeout(5):
        assert (await operator.status()).term == 1


async def test_nobody_answers(hub: MemoryHub, operator: Operator) -> None:
    """A request that nobody answers fails with a sentence, and has expired by then."""
    with pytest.raises(NoAnswer, match=r"no arbiter answered resume within 0\.05 s"):
        await operator.resume("h-1", "over", timeout_s=0.05)
    found = await peer(hub, "a")
    assert (await operator.status()).term == 1
    assert not any(isinstance(each, ResumeRequest) for each in found.heard)


async def test_broker_away(hub: MemoryHub) -> None:
    """Without a broker a request fails within its wait and says that nothing could be sent."""
    operator = Operator(MemoryBroker(hub, name="operator"), "alice")
    with pytest.raises(NoAnswer, match="the last attempt to send failed"):
        await operator.status(timeout_s=0.05)
