"""An operator's hand on the whole system: halts, failovers and questions, over the broker.

Owns one reply queue, the repetition of requests and the live count of a halt. It must not decide anything: what was
done is what the arbiter and the sidecars answer. Every wait is bounded; a request that changes something expires with
the wait, so that it cannot be carried out after its operator was told that nobody answered. Halts never expire.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from sidecar.broker.dead_letters import dead_letter
from sidecar.broker.interface import Broker, BrokerAway, BrokerError, Delivery, Outgoing, Subscription
from sidecar.broker.topology import COMMANDS, CONTROL, issuer_queue
from sidecar.client.halt_progress import HaltProgress, HaltTally
from sidecar.client.inquiries import Inquiries
from sidecar.core.ladder import halt_problem
from sidecar.core.senders import Senders
from sidecar.messages.arbiters import CompareRequest
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import WRONG_SENDER, Malformed, decode, encode
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
from sidecar.messages.events import StatusReport
from sidecar.messages.explain import (
    LAST_DEFAULT,
    ExplainReport,
    ExplainRequest,
    HistoryReport,
    HistoryRequest,
)
from sidecar.messages.groups import GroupDeclaration, RegisterGroup, RemoveGroup
from sidecar.messages.integrity import IntegrityQuery, IntegrityReport, ResolveIntegrity
from sidecar.messages.limits import LimitsReport
from sidecar.messages.measures import Measure, MeasuresReport
from sidecar.messages.once_queries import OncePage
from sidecar.messages.order_queries import BreaksPage, OrderReport, OrdersPage
from sidecar.messages.orders import ResolveBreak
from sidecar.messages.reconcile import Holds, ResolveDifference

REQUEST_REPEAT_S: Final = 1.0
"""Between repetitions of an unanswered request, each with the same id. Lower loads an arbiter that is starting."""
HALT_REPEAT_S: Final = 0.25
"""Between repetitions of a halt that somebody has not acknowledged."""
STANDING_S: Final = 0.25
"""Between questions to the arbiter how a halt with measures stands. Lower loads it, in an emergency."""


Wanted = TypeVar("Wanted", bound=Message)
Answer = (
    CommandResult
    | StatusReport
    | ExplainReport
    | HistoryReport
    | IntegrityReport
    | LimitsReport
    | OrdersPage
    | OrderReport
    | BreaksPage
    | OncePage
)


class Refused(Exception):
    """The arbiter answered a question with a refusal; the text is its sentence."""


class NoAnswer(Exception):
    """No arbiter answered in time; the text says what is known and what to look at."""


class Operator(Inquiries):
    """Asks arbiters and stops everybody. Construct it before `broker.start()`; the broker stays the caller's.

    `actor` is who is named in the journal. Whether resume and failover are allowed is decided by the broker user.
    `senders` refuses answers that somebody gives in another's name; without it every answer counts.
    """

    def __init__(self, broker: Broker, actor: str, senders: Senders | None = None) -> None:
        self._broker = broker
        self._senders = senders
        self._refused = ""
        self._actor = actor
        self._queue = issuer_queue(broker.user, uuid.uuid4().hex[:12])
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._counts: dict[str, HaltTally] = {}
        broker.subscribe(Subscription(queue=self._queue, on_delivery=self._on_delivery, no_ack=True), control=True)

    async def status(self, *, timeout_s: float = 5.0) -> StatusReport:
        """The leader's view of everything. Raises NoAnswer."""
        request_id = uuid.uuid4().hex
        request = StatusRequest(request_id=request_id, actor=self._actor)
        answer = await self._ask(request, "status", request_id, timeout_s, expires=True)
        return _expected(answer, StatusReport)

    async def compare(self, *, timeout_s: float = 5.0) -> CommandResult:
        """Have all arbiters hash the state behind one record; `status` then tells what each found. Raises NoAnswer."""
        request = CompareRequest(request_id=uuid.uuid4().hex, actor=self._actor)
        return await self._command(request, "compare", request.request_id, timeout_s)

    async def explain(self, group: str, *, timeout_s: float = 5.0) -> ExplainReport:
        """Who holds the group's slots, and why the others do or do not. Raises NoAnswer, Refused for no such group."""
        request = ExplainRequest(request_id=uuid.uuid4().hex, actor=self._actor, group=group)
        answer = await self._ask(request, "explain", request.request_id, timeout_s, expires=True)
        return _expected(answer, ExplainReport)

    async def history(self, group: str = "", *, last: int = LAST_DEFAULT, timeout_s: float = 5.0) -> HistoryReport:
        """The last failovers, of one group or of all. Raises NoAnswer, Refused for no such group."""
        request = HistoryRequest(request_id=uuid.uuid4().hex, actor=self._actor, group=group, last=last)
        answer = await self._ask(request, "history", request.request_id, timeout_s, expires=True)
        return _expected(answer, HistoryReport)

    async def resume(self, halt_id: str, reason: str, *, timeout_s: float = 5.0) -> CommandResult:
        """Lift one halt. Raises NoAnswer; a refusal is an answer with `ok` false."""
        request_id = uuid.uuid4().hex
        request = ResumeRequest(request_id=request_id, halt_id=halt_id, actor=self._actor, reason=reason)
        return await self._command(request, "resume", request_id, timeout_s)

    async def failover(
        self,
        group: str,
        reason: str,
        *,
        to: str = "",
        holder: str = "",
        dry_run: bool = False,
        timeout_s: float = 5.0,
    ) -> CommandResult:
        """Move a group's slots (of one `holder`), to `to` where named; with `dry_run` only say what would happen.

        Raises NoAnswer; a refusal is an answer with `ok` false.
        """
        request_id = uuid.uuid4().hex
        request = FailoverRequest(
            request_id=request_id,
            group=group,
            actor=self._actor,
            reason=reason,
            to=to,
            dry_run=dry_run,
            holder=holder,
        )
        return await self._command(request, "failover", request_id, timeout_s)

    async def pause(self, group: str, reason: str, duration_s: float, *, timeout_s: float = 5.0) -> CommandResult:
        """Stop automatic failovers of a group for a while. Raises NoAnswer; a refusal is an answer with `ok` false."""
        request_id = uuid.uuid4().hex
        request = PauseRequest(
            request_id=request_id, group=group, actor=self._actor, reason=reason, duration_ns=round(duration_s * 1e9)
        )
        return await self._command(request, "pause", request_id, timeout_s)

    async def unpause(self, group: str, reason: str, *, timeout_s: float = 5.0) -> CommandResult:
        """End a pause before its time. Raises NoAnswer; a refusal is an answer with `ok` false."""
        request_id = uuid.uuid4().hex
        request = UnpauseRequest(request_id=request_id, group=group, actor=self._actor, reason=reason)
        return await self._command(request, "unpause", request_id, timeout_s)

    async def resolve_break(self, cl_ord_id: str, reason: str, *, timeout_s: float = 5.0) -> CommandResult:
        """Close the breaks of one order. Raises NoAnswer; a refusal is an answer with `ok` false."""
        request_id = uuid.uuid4().hex
        request = ResolveBreak(request_id=request_id, cl_ord_id=cl_ord_id, actor=self._actor, reason=reason)
        return await self._command(request, "resolve-break", request_id, timeout_s)

    async def resolve_difference(
        self, venue: str, account: str, name: str, reason: str, *, holds: Holds = "positions", timeout_s: float = 5.0
    ) -> CommandResult:
        """Take the venue's word for one difference. Raises NoAnswer; a refusal is an answer with `ok` false."""
        request_id = uuid.uuid4().hex
        request = ResolveDifference(
            request_id=request_id,
            venue=venue,
            account=account,
            holds=holds,
            name=name,
            actor=self._actor,
            reason=reason,
        )
        return await self._command(request, "resolve-difference", request_id, timeout_s)

    async def integrity(self, *, timeout_s: float = 5.0) -> IntegrityReport:
        """What the leader found that cannot be. Raises NoAnswer."""
        request = IntegrityQuery(request_id=uuid.uuid4().hex, actor=self._actor)
        answer = await self._ask(request, "integrity", request.request_id, timeout_s, expires=True)
        return _expected(answer, IntegrityReport)

    async def resolve_integrity(self, finding: str, reason: str, *, timeout_s: float = 5.0) -> CommandResult:
        """Let one finding halt nothing any more. Raises NoAnswer; a refusal is an answer with `ok` false."""
        request = ResolveIntegrity(request_id=uuid.uuid4().hex, finding=finding, actor=self._actor, reason=reason)
        return await self._command(request, "resolve-integrity", request.request_id, timeout_s)

    async def register(
        self, group: GroupDeclaration, reason: str, *, dry_run: bool = False, timeout_s: float = 5.0
    ) -> CommandResult:
        """Register a group at run time; with `dry_run` only say what would happen.

        Raises NoAnswer; a refusal is an answer with `ok` false.
        """
        request = RegisterGroup(
            request_id=uuid.uuid4().hex, group=group, actor=self._actor, reason=reason, dry_run=dry_run
        )
        return await self._command(request, "register", request.request_id, timeout_s)

    async def remove(self, group: str, reason: str, *, dry_run: bool = False, timeout_s: float = 5.0) -> CommandResult:
        """Remove a registered group whose slots nobody holds. Raises NoAnswer; a refusal has `ok` false."""
        request = RemoveGroup(
            request_id=uuid.uuid4().hex, group=group, actor=self._actor, reason=reason, dry_run=dry_run
        )
        return await self._command(request, "remove", request.request_id, timeout_s)

    async def halt(
        self,
        scopes: Iterable[str],
        level: TradingState,
        reason: str,
        *,
        reducing_allowed: bool = True,
        measures: Iterable[Measure] = (),
        wait: bool = True,
        timeout_s: float = 5.0,
        on_progress: Callable[[HaltProgress], None] = lambda progress: None,
    ) -> HaltProgress:
        """Raise a level: to every sidecar at once, and to the arbiter for the journal; then count.

        Returns when everybody has answered and every measure is complete, or `timeout_s` is over, whichever is first;
        without `wait` as soon as the arbiter has spoken. The halt stays in force either way. `on_progress` is called at
        each change. Raises ValueError with the mend for a halt nobody would accept.
        """
        halt = Halt(
            halt_id=uuid.uuid4().hex,
            scopes=tuple(scopes),
            level=level,
            reason=reason,
            actor=self._actor,
            issued_ns=time.time_ns(),
            reducing_allowed=reducing_allowed,
            measures=tuple(measures),
        )
        if problem := halt_problem(halt):
            raise ValueError(problem)
        count = HaltTally(halt, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self._counts[halt.halt_id] = count
        self._spread(count)
        hands = [self._repeat(count), self._journal(count, timeout_s), self._call_roll(count, timeout_s)]
        if halt.measures:
            hands.append(self._ask_standing(count, timeout_s))
        tasks = [asyncio.create_task(each) for each in hands]
        try:
            await count.follow(timeout_s, lambda each: each.over if wait else each.told, on_progress)
        finally:
            del self._counts[halt.halt_id]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return count.progress()

    # --- the halt's hands ---

    def _spread(self, count: HaltTally) -> None:
        """The fast path: straight to the fanout exchange, with or without an arbiter."""
        try:
            self._broker.post(self._outgoing(count.halt, CONTROL, ""))
            count.trouble = ""
        except BrokerAway as error:
            count.trouble = str(error)

    async def _repeat(self, count: HaltTally) -> None:
        while True:
            await asyncio.sleep(HALT_REPEAT_S)
            if count.roster is None or count.progress().missing:
                self._spread(count)

    async def _journal(self, count: HaltTally, timeout_s: float) -> None:
        try:
            answer = await self._ask(count.halt, "halt", count.halt.halt_id, timeout_s, expires=False)
        except NoAnswer as error:
            count.trouble = str(error)
            return
        if isinstance(answer, CommandResult):
            count.journaled = answer
            count.changed.set()

    async def _call_roll(self, count: HaltTally, timeout_s: float) -> None:
        try:
            count.roster = (await self.status(timeout_s=timeout_s)).sidecars
        except NoAnswer as error:
            count.trouble = str(error)
        count.changed.set()

    async def _ask_standing(self, count: HaltTally, timeout_s: float) -> None:
        """What the arbiter makes of the measures, again and again: the sidecars' own words are not the verdict."""
        while True:
            await asyncio.sleep(STANDING_S)
            if count.journaled is None:
                continue
            try:
                report = await self.status(timeout_s=timeout_s)
            except NoAnswer as error:
                count.trouble = str(error)
                continue
            count.standing = next(
                (each for each in report.halt_status if each.halt_id == count.halt.halt_id), count.standing
            )
            count.changed.set()

    # --- requests and answers ---

    async def _inquire(self, query: Message, key: str, request_id: str, kind: type[Wanted], timeout_s: float) -> Wanted:
        return _expected(await self._ask(query, key, request_id, timeout_s, expires=True), kind)

    async def _command(self, request: Message, key: str, request_id: str, timeout_s: float) -> CommandResult:
        answer = await self._ask(request, key, request_id, timeout_s, expires=True)
        if not isinstance(answer, CommandResult):
            raise NoAnswer(f"the arbiter {answer.arbiter} answered {key} with a report: versions differ")
        return answer

    async def _ask(self, request: Message, key: str, request_id: str, timeout_s: float, *, expires: bool) -> Answer:
        """Send, repeat under the same id, and wait for the answer."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answered
        deadline_s = time.monotonic() + timeout_s
        trouble = ""
        try:
            while (left_s := deadline_s - time.monotonic()) > 0:
                expiration_ms = max(1, int(left_s * 1000)) if expires else None
                try:
                    await self._broker.publish(self._outgoing(request, COMMANDS, key, expiration_ms), timeout_s=left_s)
                except BrokerError as error:
                    trouble = f"; the last attempt to send failed: {error}"
                done, _ = await asyncio.wait((answered,), timeout=min(REQUEST_REPEAT_S, left_s))
                if done:
                    return answered.result()
        finally:
            del self._waiting[request_id]
            answered.cancel()
        if self._broker.trouble:
            trouble = f"; {self._broker.trouble}{trouble}"
        trouble += self._refused
        raise NoAnswer(f"no arbiter answered {key} within {timeout_s:g} s: see that one runs and leads{trouble}")

    def _outgoing(self, message: Message, exchange: str, key: str, expiration_ms: int | None = None) -> Outgoing:
        return Outgoing(
            exchange=exchange,
            routing_key=key,
            body=encode(message),
            type=message_type(message),
            app_id=self._actor,
            reply_to=self._queue.name,
            expiration_ms=expiration_ms,
        )

    def _forged(self, message: Message, delivery: Delivery) -> bool:
        """Whether somebody answered in another's name; it is then a dead letter, and the count says so."""
        if self._senders is None:
            return False
        problem = self._senders.problem(message, user=delivery.user_id or "", own=self._broker.user)
        if not problem:
            return False
        self._refused = f"; an answer was refused: {problem}"
        for count in self._counts.values():
            count.trouble = f"an answer was refused: {problem}"
            count.changed.set()
        with contextlib.suppress(BrokerAway):  # Without a link it is refused all the same, only not kept.
            kept = self._broker.submit(dead_letter(delivery, WRONG_SENDER, problem, app_id=self._actor))
            kept.add_done_callback(_forget)
        return True

    def _on_delivery(self, delivery: Delivery) -> None:
        """Answers to this operator. What cannot be understood is dropped: the queue is private and nobody waits."""
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if isinstance(message, Message) and self._forged(message, delivery):
            return
        match message:
            case HaltAccepted():
                if count := self._counts.get(message.halt_id):
                    count.add(message)
            case MeasuresReport():
                if count := self._counts.get(message.halt_id):
                    count.report(message)
            case _ if isinstance(message, Answer):
                waiting = self._waiting.get(message.request_id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case Malformed() | _:
                pass


def _forget(kept: asyncio.Future[None]) -> None:
    """A dead letter's confirm, for which nobody waits."""
    if not kept.cancelled():
        kept.exception()


def _expected(answer: Answer, kind: type[Wanted]) -> Wanted:
    if isinstance(answer, kind):
        return answer
    if isinstance(answer, CommandResult):
        raise Refused(answer.text)
    raise NoAnswer(f"the arbiter {answer.arbiter} answered with another report: versions differ")
