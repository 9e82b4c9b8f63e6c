"""The reconciliation process: carries the venues' own word to the arbiter.

Owns the queue `sidecar.reconciler`: drop copies become evidence, requests for evidence become one targeted query each.
It must not judge what it carries, and never guesses: a venue that does not answer yields nothing, and the arbiter asks
again. A delivery is acknowledged only after the broker has confirmed what follows from it, so a killed reconciler
loses nothing; evidence that is handed over twice has the same ExecID and changes nothing.
"""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, NoReturn

import structlog

from sidecar import __version__
from sidecar.broker.dead_letters import REDRIVEN_BY, dead_letter
from sidecar.broker.examination import Examination
from sidecar.broker.interface import Broker, BrokerAway, Delivery, Outgoing, Subscription
from sidecar.broker.roundtrip import Roundtrip
from sidecar.broker.topology import ORDERS, QUEUES, RECONCILER_QUEUE, QueueSpec, reply_queue, roundtrip_key
from sidecar.config.models import Settings
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import WRONG_SENDER, Malformed, decode, encode
from sidecar.messages.orders import Absence, DropCopy, Evidence, EvidenceWanted, ExecutionReport
from sidecar.messages.reconcile import ReconcilerAlive
from sidecar.reconciler.adapter import NoAnswer, Wanted
from sidecar.reconciler.checks import Checks
from sidecar.reconciler.timer import DISARM_S, TimerKeeper
from sidecar.reconciler.venues import adapters
from sidecar.telemetry.endpoint import HealthEndpoint
from sidecar.telemetry.lag import sample_loop_lag
from sidecar.telemetry.metrics import ReconcilerMetrics

PREFETCH: Final = 500
"""Deliveries under way at once; also the most questions that can wait."""
QUERIES_MAX: Final = 16
"""Questions put to venues at the same time. Higher loads the venue."""
ALIVE_EVERY_S: Final = 2.0
"""Between two signs of life."""
REQUEUE_AFTER_S: Final = 0.5
"""Pause before an unconfirmed delivery is taken up again, so that an absent broker is not asked in a tight loop."""

_log = structlog.get_logger(__name__)


class Reconciler:
    """One reconciler. `run` serves until `stop`; it starts and closes the broker."""

    def __init__(self, settings: Settings, broker: Broker, *, examination: Examination | None = None) -> None:
        self._settings = settings
        self._broker = broker
        self._id = settings.reconciler.id
        self._venues = adapters(settings.venues, settings.reconciler)
        self._checks = {
            name: Checks(self._id, name, settings.venues[name], adapter, self._carry)
            for name, adapter in self._venues.items()
        }
        self._timers = {
            name: TimerKeeper(name, adapter, settings.venues[name].cancel_after_s)
            for name, adapter in self._venues.items()
            if settings.venues[name].cancel_after_s and "timer" in adapter.offers
        }
        self._senders = settings.security.senders()
        self._metrics = ReconcilerMetrics(__version__)
        self._metrics.broker_connected.set_function(lambda: not broker.trouble)
        self._examination = examination or Examination()
        self._metrics.broker.counters = lambda: asdict(broker.counters)
        self._metrics.broker.findings = lambda: self._examination.counts
        self._run = run = uuid.uuid4().hex[:12]
        # Bound to an exchange that it writes to anyway: its role may not publish to queues by their names.
        key = roundtrip_key(broker.user, run)
        self._own = replace(reply_queue(f"reconciler-{broker.user}", run), bindings=((ORDERS, key),))
        self._roundtrip = Roundtrip(broker, self._id, exchange=ORDERS, routing_key=key, what="the reconciler's link")
        self._deliveries: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._questions = asyncio.Semaphore(QUERIES_MAX)
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._silent: dict[str, str] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Consume until `stop`."""
        self._broker.subscribe(
            Subscription(
                queue=_queue(), on_delivery=self._on_delivery, prefetch=PREFETCH, on_lost=self._deliveries.clear
            )
        )
        self._broker.subscribe(
            Subscription(queue=self._own, on_delivery=self._roundtrip.listen(lambda delivery: delivery.ack()))
        )
        endpoint = HealthEndpoint("reconciler", self._health, self._metrics.registry)
        tasks = [
            asyncio.create_task(self._pump(), name="reconciler-pump"),
            asyncio.create_task(sample_loop_lag(self._metrics.loop_lag_seconds.observe), name="loop-lag"),
            asyncio.create_task(self._examination.run(), name="broker-examination"),
            asyncio.create_task(self._roundtrip.run(), name="roundtrip"),
            asyncio.create_task(self._live(), name="alive"),
            *(asyncio.create_task(each.run(), name=f"checks-{name}") for name, each in self._checks.items()),
        ]
        keeping = [asyncio.create_task(each.run(), name=f"timer-{name}") for name, each in self._timers.items()]
        try:
            telemetry = self._settings.telemetry
            if telemetry.port is not None:
                port = await endpoint.start(telemetry.host, telemetry.port)
                _log.info("health endpoint", port=port)
            await self._broker.start()
            _log.info("reconciler runs", reconciler=self._id, venues=sorted(self._venues))
            await self._stopping.wait()
            await self._disarm(keeping)
        finally:
            tasks += [*self._asking.values(), *keeping]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for venue in self._venues.values():
                await venue.close()
            await endpoint.stop()
            await self._broker.close()

    def stop(self) -> None:
        """End `run`; what was not acknowledged comes again, here or elsewhere."""
        self._stopping.set()

    async def _disarm(self, keeping: list[asyncio.Task[None]]) -> None:
        """A planned stop disarms the venues' timers; any other end leaves them armed, and the venues cancel."""
        for each in self._timers.values():
            each.stop()
        if keeping:
            _, late = await asyncio.wait(keeping, timeout=DISARM_S)
            for armed in late:
                _log.error("stopping with a venue's timer armed: it will cancel the orders", timer=armed.get_name())

    async def _live(self) -> NoReturn:
        """Say that we live, and how the venues stand; whoever misses this message hears the next one."""
        while True:
            checks = tuple(each.state(self._trouble(name)) for name, each in sorted(self._checks.items()))
            with contextlib.suppress(BrokerAway):
                self._broker.post(
                    replace(
                        self._outgoing(ReconcilerAlive(reconciler=self._id, run=self._run, venues=checks)),
                        persistent=False,
                        expiration_ms=int(ALIVE_EVERY_S * 1000),
                    )
                )
            await asyncio.sleep(ALIVE_EVERY_S)

    def _trouble(self, venue: str) -> str:
        """What is wrong with a venue beside its checks."""
        timer = self._timers.get(venue)
        return self._silent.get(venue, "") or (timer.trouble if timer is not None else "")

    async def _carry(self, message: Message) -> None:
        """Hand over what a check found, confirmed. Raises BrokerError."""
        await self._broker.publish(self._outgoing(message))
        if isinstance(message, Evidence):
            self._metrics.evidence.inc(message.source)

    def _health(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]:
        reasons = [f"venue {venue} gives no answer: {why}" for venue, why in sorted(self._silent.items())]
        reasons += [f"venue {name}: {each.trouble}" for name, each in sorted(self._checks.items()) if each.trouble]
        reasons += [f"venue {name}: {each.trouble}" for name, each in sorted(self._timers.items()) if each.trouble]
        if self._broker.trouble:
            reasons.append(self._broker.trouble)
        elif self._roundtrip.trouble:
            reasons.append(self._roundtrip.trouble)
        reasons += self._examination.reasons
        return not reasons, tuple(reasons), {"asking": len(self._asking)}

    # --- deliveries ---

    def _on_delivery(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
        self._arrived.set()

    async def _pump(self) -> None:
        """Take up deliveries in their order; evidence leaves in the order of the drop copies."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._deliveries:
                self._take_up(self._deliveries.popleft())

    def _take_up(self, delivery: Delivery) -> None:
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if not isinstance(message, Malformed):
            message = self._sender_problem(message, delivery) or message
        match message:
            case DropCopy(venue=venue, report=report) if report.venue == venue:
                self._hand_over(delivery, [Evidence(reconciler=self._id, source="drop_copy", report=report)])
            case DropCopy():
                self._refuse(delivery, Malformed("wrong-sender", "the drop copy's venue is not its report's venue"))
            case EvidenceWanted():
                self._ask(delivery, message)
            case Malformed():
                self._refuse(delivery, message)
            case _:
                self._refuse(delivery, Malformed("unknown-type", f"{delivery.type} is not for the reconciler"))

    def _sender_problem(self, message: Message, delivery: Delivery) -> Malformed | None:
        redriven = REDRIVEN_BY in delivery.headers
        user, own = delivery.user_id or "", self._broker.user
        problem = self._senders.problem(message, user=user, own=own, redriven=redriven)
        return Malformed(WRONG_SENDER, problem) if problem else None

    def _hand_over(self, delivery: Delivery, messages: Sequence[Evidence | Absence]) -> None:
        def confirmed() -> None:
            for each in messages:
                if isinstance(each, Evidence):
                    self._metrics.evidence.inc(each.source)

        self._send(delivery, [self._outgoing(each) for each in messages], confirmed)

    def _refuse(self, delivery: Delivery, why: Malformed) -> None:
        self._metrics.dead_letters.inc(why.code)
        if why.code == WRONG_SENDER:
            self._metrics.senders_refused.inc()
        _log.warning("dead letter", code=why.code, why=why.text, type=delivery.type[:80])
        self._send(delivery, [dead_letter(delivery, why.code, why.text)], lambda: None)

    def _send(self, delivery: Delivery, outs: Sequence[Outgoing], then: Callable[[], None]) -> None:
        """Send in order at once; when all of it is confirmed, `then` and the acknowledgement, else take it up again."""
        sent: list[asyncio.Future[None]] = []
        with contextlib.suppress(BrokerAway):
            for each in outs:
                sent.append(self._broker.submit(each))

        def settle(results: asyncio.Future[list[BaseException | None]]) -> None:
            if len(sent) == len(outs) and all(each is None for each in results.result()):
                then()
                delivery.ack()
            else:
                asyncio.get_running_loop().call_later(REQUEUE_AFTER_S, delivery.requeue)

        asyncio.gather(*sent, return_exceptions=True).add_done_callback(settle)

    def _outgoing(self, message: Message) -> Outgoing:
        return Outgoing(
            exchange=ORDERS,
            routing_key=f"evidence.{self._id}",
            body=encode(message),
            type=message_type(message),
            app_id=self._id,
        )

    # --- questions ---

    def _ask(self, delivery: Delivery, wanted: EvidenceWanted) -> None:
        """One question per order at a time: a second request while the first is under way adds nothing."""
        cl_ord_id = wanted.cl_ord_id
        if cl_ord_id in self._asking:
            delivery.ack()
            return
        task = asyncio.create_task(self._query(delivery, wanted), name=f"query-{cl_ord_id}")
        self._asking[cl_ord_id] = task
        task.add_done_callback(lambda _: self._asking.pop(cl_ord_id, None))

    async def _query(self, delivery: Delivery, wanted: EvidenceWanted) -> None:
        async with self._questions:
            try:
                found = await self._answer(wanted)
            except NoAnswer as error:
                self._metrics.queries.inc("failed")
                self._silent[wanted.venue] = str(error)
                _log.warning("no answer from the venue", venue=wanted.venue, cl_ord_id=wanted.cl_ord_id, why=str(error))
                delivery.ack()  # The arbiter asks again for as long as it wants to know.
                return
        self._silent.pop(wanted.venue, None)
        self._metrics.queries.inc("absent" if found is None else "found")
        self._hand_over(delivery, self._findings(wanted, found))

    def _findings(
        self, wanted: EvidenceWanted, found: tuple[ExecutionReport, ...] | None
    ) -> Sequence[Evidence | Absence]:
        if found is not None:
            return [Evidence(reconciler=self._id, source="query", report=each) for each in found]
        query_id = uuid.uuid4().hex
        return [Absence(reconciler=self._id, venue=wanted.venue, cl_ord_id=wanted.cl_ord_id, query_id=query_id)]

    async def _answer(self, wanted: EvidenceWanted) -> tuple[ExecutionReport, ...] | None:
        venue = self._venues.get(wanted.venue)
        if venue is None:
            raise NoAnswer(f"venue {wanted.venue!r} is not configured here: add [venues.{wanted.venue}]")
        return await venue.query(Wanted(wanted.cl_ord_id, wanted.symbol, wanted.order_id))


def _queue() -> QueueSpec:
    return next(each for each in QUEUES if each.name == RECONCILER_QUEUE)
