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
from typing import Any, Final

import structlog

from sidecar import __version__
from sidecar.broker.dead_letters import dead_letter
from sidecar.broker.examination import Examination
from sidecar.broker.interface import Broker, BrokerAway, Delivery, Outgoing, Subscription
from sidecar.broker.roundtrip import Roundtrip
from sidecar.broker.topology import ORDERS, QUEUES, RECONCILER_QUEUE, QueueSpec, reply_queue
from sidecar.config.models import Settings
from sidecar.messages.base import Message, message_type
from sidecar.messages.codec import Malformed, decode, encode
from sidecar.messages.orders import Absence, DropCopy, Evidence, EvidenceWanted, ExecutionReport
from sidecar.reconciler.adapter import NoAnswer, VenueAdapter
from sidecar.reconciler.simulated import SimulatedVenue
from sidecar.telemetry.endpoint import HealthEndpoint
from sidecar.telemetry.lag import sample_loop_lag
from sidecar.telemetry.metrics import ReconcilerMetrics

PREFETCH: Final = 500
"""Deliveries under way at once; also the most questions that can wait."""
QUERIES_MAX: Final = 16
"""Questions put to venues at the same time. Higher loads the venue."""
REQUEUE_AFTER_S: Final = 0.5
"""Pause before an unconfirmed delivery is taken up again, so that an absent broker is not asked in a tight loop."""

_log = structlog.get_logger(__name__)


class Reconciler:
    """One reconciler. `run` serves until `stop`; it starts and closes the broker."""

    def __init__(self, settings: Settings, broker: Broker, *, examination: Examination | None = None) -> None:
        self._settings = settings
        self._broker = broker
        self._id = settings.reconciler.id
        self._venues = _adapters(settings)
        self._metrics = ReconcilerMetrics(__version__)
        self._metrics.broker_connected.set_function(lambda: not broker.trouble)
        self._examination = examination or Examination()
        self._metrics.broker.counters = lambda: asdict(broker.counters)
        self._metrics.broker.findings = lambda: self._examination.counts
        run = uuid.uuid4().hex[:12]
        key = f"roundtrip.{self._id}.{run}"
        # Bound to an exchange that it writes to anyway: its role may not publish to queues by their names.
        self._own = replace(reply_queue(self._id, run), bindings=((ORDERS, key),))
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
        ]
        try:
            telemetry = self._settings.telemetry
            if telemetry.port is not None:
                port = await endpoint.start(telemetry.host, telemetry.port)
                _log.info("health endpoint", port=port)
            await self._broker.start()
            _log.info("reconciler runs", reconciler=self._id, venues=sorted(self._venues))
            await self._stopping.wait()
        finally:
            tasks += self._asking.values()
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

    def _health(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]:
        reasons = [f"venue {venue} gives no answer: {why}" for venue, why in sorted(self._silent.items())]
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

    def _hand_over(self, delivery: Delivery, messages: Sequence[Evidence | Absence]) -> None:
        def confirmed() -> None:
            for each in messages:
                if isinstance(each, Evidence):
                    self._metrics.evidence.inc(each.source)

        self._send(delivery, [self._outgoing(each) for each in messages], confirmed)

    def _refuse(self, delivery: Delivery, why: Malformed) -> None:
        self._metrics.dead_letters.inc(why.code)
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
        return await venue.query(wanted.cl_ord_id)


def _adapters(settings: Settings) -> dict[str, VenueAdapter]:
    timeout_s = settings.reconciler.query_timeout_ms / 1000
    return {name: SimulatedVenue(each.address, timeout_s) for name, each in settings.venues.items()}


def _queue() -> QueueSpec:
    return next(each for each in QUEUES if each.name == RECONCILER_QUEUE)
