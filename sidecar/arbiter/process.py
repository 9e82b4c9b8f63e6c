"""The arbiter process: receive, call the core, append, send.

Owns the loop, the decoding of untrusted bytes and the process's health. It must not decide who holds a slot, whether
an order may go, or who leads: `core/arbiter.py` does.

Which way it fails: an arbiter that stops answers no heartbeats, so gates close when their leases end, and the other
arbiter takes over. A journal that it cannot understand stops it with exit code 5, before it decides on a wrong state.
"""

import asyncio
import time
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import structlog

from sidecar import __version__
from sidecar.arbiter.alarms import SenderAlarm
from sidecar.arbiter.anchor import Anchor
from sidecar.arbiter.inbox import Inbox, Source
from sidecar.arbiter.outbox import Outbox
from sidecar.arbiter.snapshots import Snapshots
from sidecar.broker.dead_letters import REDRIVEN_BY, dead_letter
from sidecar.broker.examination import Examination
from sidecar.broker.interface import Broker, BrokerError, Delivery, Subscription
from sidecar.broker.patience import Patience
from sidecar.broker.topology import ARBITER_QUEUE, QUEUES, heartbeat_queue, is_reply_queue_of
from sidecar.config.models import Settings
from sidecar.core.arbiter import Arbiter, Rules
from sidecar.core.checkpoints import SnapshotRule
from sidecar.core.figures import group_figures
from sidecar.core.halts import LiftRule
from sidecar.core.log import nothing_missing
from sidecar.core.order_figures import order_figures
from sidecar.core.outputs import Now, Origin
from sidecar.core.senders import attributed
from sidecar.core.snapshot import Taken
from sidecar.core.timing import MS
from sidecar.core.waits import Deadlines
from sidecar.journal.stream import Journal
from sidecar.messages.base import Message
from sidecar.messages.codec import WRONG_SENDER, Malformed, decode, decode_header, decode_record
from sidecar.messages.detection import Canary
from sidecar.messages.events import OrderChanged
from sidecar.messages.health import Heartbeat, Released, StartFailed
from sidecar.messages.journal import Record
from sidecar.messages.orders import EvidenceWanted
from sidecar.telemetry.endpoint import HealthEndpoint
from sidecar.telemetry.lag import sample_loop_lag
from sidecar.telemetry.metrics import ArbiterMetrics

UNREADABLE_JOURNAL = 5
"""The exit code of an arbiter that read a record of an unknown kind."""
STATE_DIFFERS = 6
"""The exit code of an arbiter whose folded state has another digest than the journal says."""
JOURNAL_REPLACED = 7
"""The exit code of an arbiter that cannot go on from what it knows: entries of the journal are missing or others."""
QUEUE_PREFETCH = 1_000
UNREAD_MAX = 200
"""Decided records that are not read back, above which nothing is taken from the arbiters' queue. An answer to a
heartbeat waits for all of them, so higher lets leases run out under a flood of orders. Lower costs throughput where the
journal is far away."""
BATCH_MAX = 200
"""Deliveries handled before the loop looks at the time again."""

CANARY_LOST_NS = 12_000 * MS
"""Without its own canary for so long, an arbiter connects to another node. Longer than the cluster needs to give up a
frozen node: until then no node declares a queue."""
JOURNAL_LOST_NS = 20_000 * MS
"""The same for the journal. Longer than a frozen stream leader stalls it, which no other node would mend."""

log = structlog.get_logger(__name__)


class ArbiterProcess:
    """One arbiter over a broker that is not started yet."""

    def __init__(self, settings: Settings, broker: Broker, *, examination: Examination | None = None) -> None:
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
                review_ns=settings.orders.review_interval_ms * MS,
            ),
            operators=frozenset(settings.security.operators),
            lifting=LiftRule(
                operators=settings.security.resume_operators, window_ns=settings.security.resume_window_ms * MS
            ),
            failovers_per_hour_max=settings.arbiter.failovers_per_hour_max,
            detection=settings.detection.to_core(),
            reconciling=settings.reconciler.to_core(settings.venues),
            limits={scope: each.to_core() for scope, each in settings.limits.items()},
            snapshots=SnapshotRule(
                records=settings.arbiter.snapshot_records, interval_ns=settings.arbiter.snapshot_interval_s * 1_000 * MS
            ),
        )
        self.metrics = ArbiterMetrics(__version__, settings.groups)
        self._examination = examination or Examination()
        self.metrics.broker.counters = lambda: asdict(broker.counters)
        self.metrics.broker.findings = lambda: self._examination.counts
        self.metrics.groups.read = lambda: group_figures(self._core, _now())
        self.metrics.standing.read = lambda: order_figures(self._core, _now())
        self._core = Arbiter(self._rules, f"{self._name}#{self._run}", _now())
        self._canary_ns = self._journal_ns = _now().boot_ns
        self._canary_patience = Patience(CANARY_LOST_NS)
        self._journal_patience = Patience(JOURNAL_LOST_NS)
        self._inbox = Inbox()
        self._senders = settings.security.senders()
        self._alarm = SenderAlarm(self._name)
        self._stopped = asyncio.Event()
        self._exit_code = 0
        self._anchor: Anchor | None = None
        self._due_offset = 0
        self._led = False
        self._contradictions: dict[str, str] = {}
        self._otherwise: tuple[str, ...] = ()
        self._journal = Journal(
            broker,
            self._name,
            on_entry=lambda delivery: self._inbox.put(Source.JOURNAL, delivery),
            in_flight=lambda: self._core.desk.unread,
        )
        self._snapshots = Snapshots(broker, self._name, self.metrics, self._digested)
        self._outbox = Outbox(
            self._name,
            broker,
            self._journal,
            self._snapshots,
            self.metrics,
            settings.timing.holder_lease_ms,
            _narrate,
        )

    async def run(self) -> int:
        """Arbitrate until `stop()`; returns the exit code."""
        endpoint = HealthEndpoint("arbiter", self._health, self.metrics.registry, self._snapshots.last)
        if self._settings.telemetry.port is not None:
            port = await endpoint.start(self._settings.telemetry.host, self._settings.telemetry.port)
            log.info("health and metrics", host=self._settings.telemetry.host, port=port)
        log.info("arbiter starts", arbiter=self._name, run=self._run, groups=len(self._rules.plans))
        lag = asyncio.create_task(sample_loop_lag(self.metrics.loop_lag_seconds.observe))
        examining = asyncio.create_task(self._examination.run(), name="broker-examination")
        await self._broker.start()
        try:
            await self._stand()
            await self._loop()
        finally:
            lag.cancel()
            examining.cancel()
            await asyncio.gather(lag, examining, return_exceptions=True)
            await self._snapshots.close()
            await self._journal.close()
            await self._broker.close()
            await endpoint.stop()
        return self._exit_code

    def stop(self) -> None:
        """End after the present batch. A leader that goes is followed by the next, like one that died."""
        self._stopped.set()

    # --- the start ---

    async def _stand(self) -> None:
        """Stand on the newest whole snapshot or on the journal's beginning, and only then hear and be nominated.

        With a snapshot that is when the journal has shown that it holds the snapshot's own record.
        """
        found = await self._snapshots.find(self._stopped)
        self._core.warning = self._snapshots.ignored
        if self._stopped.is_set():
            return
        if found is not None:
            self._core.restore(found.taken, found.digest, _now())
            self.metrics.snapshot_offset.set(found.taken.offset)
            self._anchor = Anchor(found.taken.offset, found.taken.state.position)
            log.info("stands on a snapshot", offset=found.taken.offset, digest=found.digest)
        if self._anchor is None:
            self._journal.read_from(0)
            self._subscribe()
        else:
            self._journal.read_from(self._anchor.offset)
            self._due_offset = self._anchor.offset + 1

    # --- the loop ---

    async def _loop(self) -> None:
        tick_s = self._timing.tick_ns / 2e9
        next_tick_ns = next_canary_ns = 0
        while not self._stopped.is_set():
            for _ in range(BATCH_MAX):
                taken = self._inbox.take(held=self._core.desk.unread_count >= UNREAD_MAX)
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
                if self._anchor is None:
                    self._outbox.execute(self._core.tick(now))
                    self._look_elsewhere(now)
                else:
                    self._judge_anchor(self._anchor, now)
                self._watch()
            await self._inbox.wait(tick_s, held=self._core.desk.unread_count >= UNREAD_MAX)

    def _handle(self, source: Source, delivery: Delivery) -> None:
        if source is Source.JOURNAL:
            self._read(delivery)
            delivery.ack()  # Asks the stream for one more, and bounds what waits here.
            return
        message = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
        if not isinstance(message, Malformed):
            message = self._judge_sender(message, delivery)
        if isinstance(message, Malformed):
            self._refuse(delivery, message)
            return
        if source is Source.HEALTH:
            self._hear(message, delivery)
            return
        handle = self._outbox.track(delivery)
        self._outbox.execute(self._core.on_queue(message, self._origin(delivery, handle), _now()))

    def _judge_sender(self, message: Message, delivery: Delivery) -> Message | Malformed:
        """The message, with the verified user beside a person's name; or why its sender may not say this."""
        user, own = delivery.user_id or "", self._broker.user
        redriven = REDRIVEN_BY in delivery.headers
        problem = self._senders.problem(message, user=user, own=own, redriven=redriven)
        if problem:
            return Malformed(WRONG_SENDER, problem)
        if message.SENDER == "component" and user != own and delivery.reply_to:
            component = str(getattr(message, message.SENDER))
            if not is_reply_queue_of(component, delivery.reply_to):
                return Malformed(WRONG_SENDER, f"it wants its answer sent to a queue that is not {component}'s own")
        if self._senders.oversteps(message, user):
            self._raise_alarm(delivery, f"user {user!r} is no operator")
        return attributed(message, user=user, own=own)

    def _raise_alarm(self, delivery: Delivery, text: str) -> None:
        self.metrics.senders_refused.inc()
        self._outbox.execute([*self._alarm.note(delivery, text, _now().boot_ns)])

    def _hear(self, message: Message, delivery: Delivery) -> None:
        if not isinstance(message, Heartbeat | Released | StartFailed | Canary):
            self._refuse(delivery, Malformed("unknown-type", f"{delivery.type} does not belong on this key"))
            return
        if not isinstance(message, Canary):
            self.metrics.heartbeats_received.inc()
        elif message.author == self._core.desk.author:
            self._canary_ns = _now().boot_ns
        else:
            self._journal.read_elsewhere(message.offset)
        self._outbox.execute(self._core.on_health(message, self._origin(delivery, 0), _now()))

    def _read(self, delivery: Delivery) -> None:
        if self._anchor is not None:
            self._hold(self._anchor, delivery)
            return
        record = decode_record(delivery.body)
        if not self._goes_on(delivery.offset or 0, None if isinstance(record, Malformed) else record):
            return
        if isinstance(record, Malformed):
            self._stop_at(record, delivery)
            return
        self.metrics.journal_read.inc()
        self._journal_ns = _now().boot_ns
        self._outbox.execute(self._core.on_record(record, delivery.offset or 0, _now(), delivery.body))

    def _goes_on(self, offset: int, record: Record | None) -> bool:
        """Whether nothing that counts is missing before this entry; else this arbiter ends."""
        missing, due = offset - self._due_offset, self._due_offset
        self._due_offset = offset + 1
        if nothing_missing(self._core.desk.log_state.position, record, missing):
            return True
        self._replaced(
            f"offset {due} was to come and {offset} came: retention has deleted what this arbiter needs, or the stream "
            "was made anew"
        )
        return False

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
        self._end(UNREADABLE_JOURNAL)

    def _hold(self, anchor: Anchor, delivery: Delivery) -> None:
        """The first entry read must be the one that the snapshot was taken behind."""
        if anchor.holds(delivery.body):
            self._anchor = None
            self._subscribe()
        else:
            self._replaced(f"offset {anchor.offset} holds another record than the one that the snapshot was taken at")

    def _judge_anchor(self, anchor: Anchor, now: Now) -> None:
        if anchor.overdue(now.boot_ns, served=not self._broker.trouble):
            self._replaced(f"offset {anchor.offset}, at which the snapshot was taken, is not in it")

    def _replaced(self, why: str) -> None:
        """The journal does not continue what this arbiter knows. Closed, and never guessed."""
        log.error(
            "the journal is not the one that this arbiter's state is from, or a part of it is gone; stopping",
            why=why,
            mend='see "The journal was replaced" in docs/operating.md',
        )
        self._end(JOURNAL_REPLACED)

    def _digested(self, taken: Taken, digest: str) -> None:
        """A digest is there. One that differs from the journal's ends this arbiter."""
        self._outbox.execute(self._core.on_digest(taken, digest, _now()))

    def _judge_digest(self) -> None:
        if not self._core.checkpoints.differs:
            return
        self.metrics.state_differs.set(1)
        log.error(
            "this arbiter folded another state than the journal says; stopping",
            why=self._core.checkpoints.differs,
            mend="run the same version everywhere, check this host's memory, keep the logs",
        )
        self._end(STATE_DIFFERS)

    def _end(self, exit_code: int) -> None:
        if not self._stopped.is_set():
            self._exit_code = exit_code
            self._stopped.set()

    def _look_elsewhere(self, now: Now) -> None:
        """A node that loses our own canary, or has no journal for us, is left for the next one."""
        lost = self._canary_patience.over(self._canary_ns, now.boot_ns)
        if self._journal_patience.over(self._journal_ns, now.boot_ns) or lost:
            log.warning(
                "the broker's node is of no use; connecting to another",
                why="the own canary does not come round" if lost else "nothing comes from the journal",
            )
            self._broker.move_on()

    # --- around it ---

    def _subscribe(self) -> None:
        self._canary_ns = self._journal_ns = _now().boot_ns
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
        if malformed.code == WRONG_SENDER:
            self._raise_alarm(delivery, malformed.text)
        log.warning("dead-lettered", code=malformed.code, why=malformed.text, routing_key=delivery.routing_key)
        try:
            self._broker.submit(dead_letter(delivery, malformed.code, malformed.text)).add_done_callback(_forget)
        except BrokerError as error:
            log.warning("a dead letter could not be kept", why=str(error))
        delivery.ack()

    def _watch(self) -> None:
        """Set the gauges, and say when leadership came or went."""
        state, leading = self._core.state, self._core.leading
        self._core.warning = self._snapshots.ignored
        self._judge_digest()
        self._outbox.execute([*self._alarm.due(_now().boot_ns)])
        self.metrics.journal_offset.set(self._core.offset)
        self.metrics.is_leader.set(leading)
        self.metrics.term.set(state.position.term)
        self.metrics.halts_in_force.set(len(state.halts))
        self.metrics.measures_incomplete.set(sum(not each.complete for each in state.measured.values()))
        self.metrics.control_version.set(state.control_version)
        self.metrics.trading_state.set(max((each.level for each in state.halts.values()), default=0))
        self._watch_groups()
        self.metrics.broker_connected.set(not self._broker.trouble)
        if leading is not self._led:
            self._led = leading
            self.metrics.correlated_silence.set(0)  # Whoever leads next judges anew.
            log.info("leads" if leading else "follows", arbiter=self._name, term=state.position.term)

    def _watch_groups(self) -> None:
        """Say, leader or standby, where the journal's groups contradict this arbiter's configuration."""
        found = self._core.plans.contradictions
        otherwise = self._core.peers.otherwise(_now())
        self.metrics.arbiters_configured_otherwise.set(len(otherwise))
        if otherwise != self._otherwise:
            if otherwise:
                log.warning("arbiters are configured with other groups than this one", arbiters=otherwise)
            else:
                log.info("every arbiter that is heard is configured with the same groups")
            self._otherwise = otherwise
        self.metrics.groups_registered.set(len(self._core.state.groups))
        self.metrics.groups_contradicted.set(len(found))
        if found == self._contradictions:
            return
        for text in found.values():
            log.error("a registered group and the configuration contradict each other", why=text)
        if not found:
            log.info("registered groups and the configuration agree")
        self._contradictions = dict(found)

    def _health(self) -> tuple[bool, tuple[str, ...], dict[str, Any]]:
        trouble = self._broker.trouble
        details = {
            "arbiter": self._name,
            "standing": self._core.desk.standing.value,
            "term": self._core.state.position.term,
            "leader": self._core.state.position.author.partition("#")[0],
            "offset": self._core.offset,
        }
        reasons = (*((trouble,) if trouble else ()), *self._examination.reasons)
        return not reasons, reasons, details


def _now() -> Now:
    return Now(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


def _forget(future: asyncio.Future[None]) -> None:
    """A dead letter's confirm: a failure was logged by the broker room, and nobody waits for it."""
    if not future.cancelled():
        future.exception()


def _narrate(message: Message) -> None:
    """Every decided fact but the orders' stream is a log line."""
    if not isinstance(message, OrderChanged | EvidenceWanted):
        log.info("decided", event_type=type(message).__name__, fact=repr(message))
