"""The arbiter process: receive, call the core, append, send.

Owns the loop, the decoding of untrusted bytes and the process's health. It must not decide who holds a slot, whether
an order may go, or who leads: `core/arbiter.py` does.

Which way it fails: an arbiter that stops answers no heartbeats, so gates close when their leases end, and the other
arbiter takes over. A journal that it cannot understand stops it with exit code 5, before it decides on a wrong state.
"""

import asyncio
import time
from typing import Any
from uuid import uuid4

import structlog

from sidecar import __version__
from sidecar.arbiter.inbox import Inbox, Source
from sidecar.arbiter.outbox import Outbox
from sidecar.broker.dead_letters import dead_letter
from sidecar.broker.interface import Broker, BrokerError, Delivery, Subscription
from sidecar.broker.topology import ARBITER_QUEUE, QUEUES, heartbeat_queue
from sidecar.config.models import Settings
from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.outputs import Now, Origin
from sidecar.core.timing import MS
from sidecar.core.verifier import Deadlines
from sidecar.journal.stream import Journal
from sidecar.messages.base import Message
from sidecar.messages.codec import Malformed, decode, decode_header, decode_record
from sidecar.messages.detection import Canary
from sidecar.messages.events import OrderChanged
from sidecar.messages.health import Heartbeat, Released
from sidecar.telemetry.endpoint import HealthEndpoint
from sidecar.telemetry.lag import sample_loop_lag
from sidecar.telemetry.metrics import ArbiterMetrics

UNREADABLE_JOURNAL = 5
"""The exit code of an arbiter that read a record of an unknown kind."""
QUEUE_PREFETCH = 1_000
BATCH_MAX = 200
"""Deliveries handled before the loop looks at the time again."""

log = structlog.get_logger(__name__)


class ArbiterProcess:
    """One arbiter over a broker that is not started yet."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self._settings = settings
        self._broker = broker
        self._timing = settings.timing.to_core()
        self._name = settings.arbiter.id
        self._run = uuid4().hex[:8]
        self._rules = Rules(
            name=self._name,
            plans=settings.plans(),
            timing=self._timing,
            deadlines=Deadlines(
                report_ns=settings.orders.report_deadline_ms * MS,
                evidence_ns=settings.orders.evidence_deadline_ms * MS,
                query_ns=settings.orders.query_interval_ms * MS,
            ),
            operators=frozenset(settings.security.operators),
            failovers_per_hour_max=settings.arbiter.failovers_per_hour_max,
            detection=settings.detection.to_core(),
        )
        self.metrics = ArbiterMetrics(__version__, settings.groups)
        self._core = Arbiter(self._rules, f"{self._name}#{self._run}", _now())
        self._inbox = Inbox()
        self._stopping = False
        self._exit_code = 0
        self._led = False
        self._journal = Journal(
            broker,
            self._name,
            on_entry=lambda delivery: self._inbox.put(Source.JOURNAL, delivery),
            in_flight=lambda: self._core.desk.in_flight,
        )
        self._outbox = Outbox(
            self._name, broker, self._journal, self.metrics, settings.timing.holder_lease_ms, _narrate
        )
        self._subscribe()

    async def run(self) -> int:
        """Arbitrate until `stop()`; returns the exit code."""
        endpoint = HealthEndpoint("arbiter", self._health, self.metrics.registry)
        if self._settings.telemetry.port is not None:
            port = await endpoint.start(self._settings.telemetry.host, self._settings.telemetry.port)
            log.info("health and metrics", host=self._settings.telemetry.host, port=port)
        log.info("arbiter starts", arbiter=self._name, run=self._run, groups=len(self._rules.plans))
        lag = asyncio.create_task(sample_loop_lag(self.metrics.loop_lag_seconds.observe))
        await self._broker.start()
        try:
            await self._loop()
        finally:
            lag.cancel()
            await asyncio.gather(lag, return_exceptions=True)
            await self._journal.close()
            await self._broker.close()
            await endpoint.stop()
        return self._exit_code

    def stop(self) -> None:
        """End after the present batch. A leader that goes is followed by the next, like one that died."""
        self._stopping = True

    # --- the loop ---

    async def _loop(self) -> None:
        tick_s = self._timing.tick_ns / 2e9
        next_tick_ns = next_canary_ns = 0
        while not self._stopping:
            for _ in range(BATCH_MAX):
                taken = self._inbox.take()
                if taken is None:
                    break
                self._handle(*taken)
            else:
                await asyncio.sleep(0)  # A full batch: let the links breathe, then go on before judging silence.
                continue
            now = _now()
            if now.boot_ns >= next_canary_ns:
                next_canary_ns = now.boot_ns + self._timing.heartbeat_ns
                self._outbox.canary(self._core.canary(now))
            if now.boot_ns >= next_tick_ns:
                next_tick_ns = now.boot_ns + self._timing.tick_ns // 2
                self._outbox.execute(self._core.tick(now))
                self._watch()
            await self._inbox.wait(tick_s)

    def _handle(self, source: Source, delivery: Delivery) -> None:
        if source is Source.JOURNAL:
            self._read(delivery)
            return
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if isinstance(message, Malformed):
            self._refuse(delivery, message)
            return
        if source is Source.HEALTH:
            self._hear(message, delivery)
            return
        handle = self._outbox.track(delivery)
        self._outbox.execute(self._core.on_queue(message, self._origin(delivery, handle), _now()))

    def _hear(self, message: Message, delivery: Delivery) -> None:
        if not isinstance(message, Heartbeat | Released | Canary):
            self._refuse(delivery, Malformed("unknown-type", f"{delivery.type} does not belong on this key"))
            return
        if not isinstance(message, Canary):
            self.metrics.heartbeats_received.inc()
        self._outbox.execute(self._core.on_health(message, self._origin(delivery, 0), _now()))

    def _read(self, delivery: Delivery) -> None:
        record = decode_record(delivery.body)
        if isinstance(record, Malformed):
            self._stop_at(record, delivery)
            return
        self.metrics.journal_read.inc()
        self._outbox.execute(self._core.on_record(record, delivery.offset or 0, _now()))

    def _stop_at(self, malformed: Malformed, delivery: Delivery) -> None:
        """Stop for a record that would count and cannot be folded. All else is nobody's record: void for everyone."""
        header, position = decode_header(delivery.body), self._core.desk.log_state.position
        counts = header is not None and (header.term, header.arbiter, header.n) == (
            position.term,
            position.author,
            position.n + 1,
        )
        if not counts:
            self.metrics.journal_void.inc()
            log.warning("an entry of the journal is no record and is void", offset=delivery.offset, why=malformed.text)
            return
        log.error(
            "the journal has a record that this version does not know; stopping before deciding on a wrong state",
            offset=delivery.offset,
            why=malformed.text,
            mend="run the version that wrote it",
        )
        self._exit_code, self._stopping = UNREADABLE_JOURNAL, True

    # --- around it ---

    def _subscribe(self) -> None:
        queue = next(each for each in QUEUES if each.name == ARBITER_QUEUE)
        self._broker.subscribe(
            Subscription(
                queue=queue,
                on_delivery=lambda delivery: self._inbox.put(Source.QUEUE, delivery),
                prefetch=QUEUE_PREFETCH,
                on_lost=self._on_lost,
            )
        )
        self._broker.subscribe(
            Subscription(
                queue=heartbeat_queue(self._name, self._run),
                on_delivery=lambda delivery: self._inbox.put(Source.HEALTH, delivery),
                no_ack=True,
            ),
            control=True,
        )

    def _on_lost(self) -> None:
        self._core.on_lost()
        self._outbox.forget_all()

    def _origin(self, delivery: Delivery, handle: int) -> Origin:
        return Origin(
            user=delivery.user_id or "",
            reply_to=delivery.reply_to,
            correlation_id=delivery.correlation_id,
            handle=handle,
        )

    def _refuse(self, delivery: Delivery, malformed: Malformed) -> None:
        """Bad input: kept with its reason, counted, and out of the way."""
        self.metrics.dead_letters.inc(malformed.code)
        log.warning("dead-lettered", code=malformed.code, why=malformed.text, routing_key=delivery.routing_key)
        try:
            self._broker.submit(dead_letter(delivery, malformed.code, malformed.text)).add_done_callback(_forget)
        except BrokerError as error:
            log.warning("a dead letter could not be kept", why=str(error))
        delivery.ack()

    def _watch(self) -> None:
        """Set the gauges, and say when leadership came or went."""
        state, leading = self._core.state, self._core.leading
        self.metrics.is_leader.set(leading)
        self.metrics.term.set(state.position.term)
        self.metrics.halts_in_force.set(len(state.halts))
        self.metrics.control_version.set(state.control_version)
        self.metrics.trading_state.set(max((each.level for each in state.halts.values()), default=0))
        self.metrics.broker_connected.set(not self._broker.trouble)
        if leading is not self._led:
            self._led = leading
            log.info("leads" if leading else "follows", arbiter=self._name, term=state.position.term)

    def _health(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]:
        trouble = self._broker.trouble
        details = {
            "arbiter": self._name,
            "standing": self._core.desk.standing.value,
            "term": self._core.state.position.term,
            "leader": self._core.state.position.author.partition("#")[0],
            "offset": self._core.offset,
        }
        return not trouble, (trouble,) if trouble else (), details


def _now() -> Now:
    return Now(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


def _forget(future: asyncio.Future[None]) -> None:
    """A dead letter's confirm: a failure was logged by the broker room, and nobody waits for it."""
    if not future.cancelled():
        future.exception()


def _narrate(message: Message) -> None:
    """Every decided fact but the orders' stream is a log line."""
    if not isinstance(message, OrderChanged):
        log.info("decided", event_type=type(message).__name__, fact=repr(message))
