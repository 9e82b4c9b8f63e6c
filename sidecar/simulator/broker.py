"""The model of the broker: what it may do to a message, from the dice.

Owns queues, the stream and the links. Heartbeats and answers travel through exclusive queues: they may be lost,
repeated, reordered and late. The stream keeps each author's order and is read by all in one order; its confirms are
not modelled, so an author knows only what it has read. The arbiters' queue is read by one active consumer, and what
that has not acknowledged when it goes is delivered again, to the next. Links may be cut, wholly or in one direction;
publishers may be blocked (an alarm), and what they publish then waits, and is delivered late or not at all; an
arbiter's consumer of the stream may hang until it subscribes again; a restarted broker keeps the streams and drops all
links and what was on the way. Of the snapshots the newest is not always found whole: then it is the one before, or
none.
It must not know why any of this happens: `faults.py` does.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping
from math import log
from typing import Any

from sidecar.core.log import Verdict
from sidecar.core.outputs import Append, Origin
from sidecar.core.state import State
from sidecar.core.timing import MS
from sidecar.messages.base import Message
from sidecar.messages.control import Probe
from sidecar.messages.journal import Record
from sidecar.messages.orders import EvidenceWanted
from sidecar.simulator.arbiter_host import ArbiterHost
from sidecar.simulator.clocks import Agenda, S
from sidecar.simulator.hosts import Host
from sidecar.simulator.shelf import Stored
from sidecar.simulator.sidecar_host import SidecarHost

REPAIR_NS = 100 * MS
"""How soon an author whose link is back appends again what it has not read."""
USUAL_NS = 2 * MS
TAIL_NS = 800 * MS
TAIL = 0.01
BODY = 1 - TAIL
"""Delays are exponential with this mean; one in a hundred is anything up to the tail's length."""
LAG_NS = 5 * S
BLOCKED_MAX = 10_000
NOBODY_NS = 100 * MS
"""How soon the arbiters' queue looks again for a consumer."""
NO_SNAPSHOT, OLDER_SNAPSHOT = 0.2, 0.4
"""Of so many starts of an arbiter none of the snapshots is found, or only the one before the newest."""


class Broker:
    """All queues and links of one run. `stored` is called with each valid record, in the log's order."""

    def __init__(
        self,
        agenda: Agenda,
        dice: random.Random,
        loss: float,
        stored: Callable[[Record], None],
        to_operator: Callable[[Message], None],
    ) -> None:
        self.journal: list[Append] = []
        self.snapshots: list[Stored] = []
        self.truth = State()
        self.consumers: list[str] = []
        self.cut: set[str] = set()
        self.deaf: set[tuple[str, str]] = set()
        self.lagging: set[str] = set()
        self.hung: set[str] = set()
        self.alarmed = False
        self.on_wanted: Callable[[EvidenceWanted], None] = lambda wanted: None
        self.sidecars: Mapping[str, SidecarHost] = {}
        self.arbiters: Mapping[str, ArbiterHost] = {}
        self._agenda = agenda
        self._random = dice.random
        self._loss = loss
        self._twice = 1 - loss / 2
        self._stored = stored
        self._to_operator = to_operator
        self._era = 0
        self._blocked: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._last_append_ns: dict[str, int] = {}
        self._reading: set[str] = set()
        self._repairing: set[str] = set()
        self._unsettled: dict[str, dict[int, tuple[Message, Origin, int]]] = {}
        self._deliveries = 0

    # --- what processes do ---

    def to_arbiters(self, message: Message, sender: str) -> None:
        """To every arbiter's own queue."""
        if self.alarmed or self.cut or self.deaf:
            for arbiter in self.arbiters.values():
                self._send(sender, arbiter, arbiter.hear, message)
            return
        after, random, loss, twice = self._agenda.after, self._random, self._loss, self._twice
        for arbiter in self.arbiters.values():  # As `_send` does; this is where most messages pass.
            roll = random()
            if roll >= loss:
                after(self.delay_ns(), self._arrive, arbiter, arbiter.life, self._era, arbiter.hear, message)
                if roll > twice:
                    after(self.delay_ns(), self._arrive, arbiter, arbiter.life, self._era, arbiter.hear, message)

    def to_itself(self, message: Message, sender: str) -> None:
        """From an arbiter to its own queue."""
        arbiter = self.arbiters[sender]
        self._send(sender, arbiter, arbiter.hear_canary, message)

    def to_sidecar(self, message: Message, component: str, sender: str) -> None:
        """To one sidecar's queue; nothing happens when there is none."""
        sidecar = self.sidecars.get(component)
        if sidecar is not None:
            self._send(sender, sidecar, sidecar.deliver, message)

    def to_all_sidecars(self, message: Message, sender: str) -> None:
        """To every sidecar's queue."""
        for sidecar in self.sidecars.values():
            self._send(sender, sidecar, sidecar.deliver, message)

    def to_operator(self, message: Message) -> None:
        """The answer to an operator's request; it counts from the moment in which it is sent."""
        self._to_operator(message)

    def to_reconciler(self, message: EvidenceWanted, sender: str) -> None:
        """Into the reconciler's own queue, which it reads sooner or later; an event may be lost on the way there."""
        if sender not in self.cut and not self.alarmed and self._random() >= self._loss:
            self._agenda.after(self.delay_ns(), self.on_wanted, message)

    def append(self, append: Append, sender: str) -> None:
        """Append, in the author's order; once its link is back a cut-off author appends all that it has not read."""
        if not self.arbiters[sender].alive or sender in self._repairing:
            return
        if sender in self.cut:
            self._repairing.add(sender)
            self._agenda.after(REPAIR_NS, self._repair, sender)
        elif self.alarmed:
            self._block(self._append_now, append, sender)
        else:
            self._append_now(append, sender)

    def ask_nominee(self, sender: str) -> None:
        """A probe into the arbiters' queue."""
        if sender not in self.cut:
            self.put(Probe(arbiter=sender), sender)

    def put(self, message: Message, user: str, reply_to: str = "") -> None:
        """Into the arbiters' queue, to whoever is its active consumer by then. A host without a link sends nothing."""
        if user not in self.cut:
            self._deliveries += 1
            self._enqueue(message, Origin(user=user, reply_to=reply_to, handle=self._deliveries))

    def settle(self, handle: int, verdict: str, name: str) -> None:
        """What was delivered to this arbiter is done, or is to be delivered again; without its link it says neither."""
        delivered = None if name in self.cut else self._unsettled.get(name, {}).pop(handle, None)
        if delivered is not None and verdict == "requeue":
            self._deliver_again(*delivered[:2])

    def store(self, stored: Stored, sender: str) -> None:
        """A snapshot is written, or lost with the link; the next one comes."""
        if sender not in self.cut and not self.alarmed:
            self._agenda.after(self.delay_ns(), self.snapshots.append, stored)

    def newest_snapshot(self) -> Stored | None:
        """The newest that is whole, the one before, or none."""
        roll = self._random()
        whole = self.snapshots[:-1] if roll < OLDER_SNAPSHOT else self.snapshots
        return whole[-1] if whole and roll >= NO_SNAPSHOT else None

    def unsettled(self, since_ns: int) -> list[Message]:
        """What was delivered to arbiters before this time, and was neither acknowledged nor handed back."""
        held = (each for deliveries in self._unsettled.values() for each in deliveries.values())
        return [message for message, _, at_ns in held if at_ns < since_ns]

    # --- what happens to it ---

    def pump(self, arbiter: ArbiterHost) -> None:
        """Let an arbiter read on, in order, a moment after what it read before."""
        name = arbiter.name
        if name in self._reading or name in self.cut or name in self.hung or arbiter.read_to >= len(self.journal):
            return
        self._reading.add(name)
        lag_ns = int(self._random() * LAG_NS) if name in self.lagging else 0
        self._agenda.after(self.delay_ns() // 4 + lag_ns, self._deliver_records, arbiter)

    def subscribe(self, name: str) -> None:
        """An arbiter's consumer of the journal is a new one, from where it stands: it does not hang."""
        if name not in self.cut:
            self.hung.discard(name)
            self.pump(self.arbiters[name])

    def move_last(self, name: str) -> None:
        """Another consumer of the arbiters' queue becomes the active one."""
        if name in self.consumers:
            self.leave(name)
            self.consumers.append(name)

    def leave(self, name: str) -> None:
        """A consumer of the arbiters' queue is gone: what it did not settle, because it was stopped, is another's."""
        if name in self.consumers:
            self.consumers.remove(name)
        for message, origin, _ in self._unsettled.pop(name, {}).values():
            self._deliver_again(message, origin)
        arbiter = self.arbiters.get(name)
        if arbiter is not None:
            arbiter.run(arbiter.lose_queue)

    def restarted(self) -> None:
        """What was on its way through exclusive queues is lost; what was being appended is, or is not."""
        self._era += 1
        self.unblock(keep=0.5)

    def unblock(self, keep: float) -> None:
        """The alarm ends: what waited goes on, each with probability `keep`, or was given up by its publisher.

        An author one of whose appends failed appends all that it has not read, again and in order.
        """
        self.alarmed = False
        blocked, self._blocked = self._blocked, deque()
        for event, arguments in blocked:
            if self._random() < keep:
                event(*arguments)
        for name, arbiter in self.arbiters.items():
            if arbiter.alive and arbiter.core.desk.in_flight and name not in self._repairing:
                self._repairing.add(name)
                self._agenda.after(REPAIR_NS, self._repair, name)

    def heal(self) -> None:
        """All links are whole again."""
        self.cut.clear()
        self.deaf.clear()
        self.lagging.clear()
        self.hung.clear()
        self.unblock(keep=1.0)

    def delay_ns(self) -> int:
        """Mostly under a few milliseconds, now and then hundreds: a tail like that of a busy broker."""
        roll = self._random()
        if roll < TAIL:
            return int(roll / TAIL * TAIL_NS)
        return int(-log((1 - roll) / BODY) * USUAL_NS)

    # --- inside ---

    def _enqueue(self, message: Message, origin: Origin) -> None:
        if self.alarmed:
            self._block(self._enqueue, message, origin)
        else:
            self._agenda.after(self.delay_ns(), self._take, message, origin)

    def _send(self, sender: str, to: Host, arrive: Callable[[Any], None], message: Message) -> None:
        if self.alarmed:
            self._block(self._send, sender, to, arrive, message)
            return
        roll = self._random()
        if roll < self._loss or (self.cut and sender in self.cut) or (self.deaf and (sender, to.name) in self.deaf):
            return
        self._agenda.after(self.delay_ns(), self._arrive, to, to.life, self._era, arrive, message)
        if roll > self._twice:
            self._agenda.after(self.delay_ns(), self._arrive, to, to.life, self._era, arrive, message)

    def _arrive(self, to: Host, life: int, era: int, arrive: Callable[[Any], None], message: Message) -> None:
        if to.life != life or era != self._era or (self.cut and to.name in self.cut):
            return
        if to.stopped:
            to.run(arrive, message)
        else:
            arrive(message)

    def _block(self, event: Callable[..., None], *arguments: Any) -> None:
        if len(self._blocked) < BLOCKED_MAX:
            self._blocked.append((event, arguments))

    def _take(self, message: Message, origin: Origin) -> None:
        """To the active consumer; it waits in the queue as long as there is none."""
        active = next((each for each in self.consumers if each not in self.cut), None)
        if active is None:
            self._agenda.after(NOBODY_NS, self._take, message, origin)
            return
        self._unsettled.setdefault(active, {})[origin.handle] = (message, origin, self._agenda.now_ns)
        arbiter = self.arbiters[active]
        arbiter.run(arbiter.take, message, origin)

    def _deliver_again(self, message: Message, origin: Origin) -> None:
        self._deliveries += 1
        self._enqueue(message, Origin(user=origin.user, reply_to=origin.reply_to, handle=self._deliveries))

    def _append_now(self, append: Append, sender: str) -> None:
        at_ns = max(self._agenda.now_ns + self.delay_ns(), self._last_append_ns.get(sender, 0) + 1)
        self._last_append_ns[sender] = at_ns
        self._agenda.after(at_ns - self._agenda.now_ns, self._store, append, self._era)

    def _repair(self, sender: str) -> None:
        if sender in self.cut or self.alarmed:
            self._agenda.after(REPAIR_NS, self._repair, sender)
            return
        self._repairing.discard(sender)
        desk = self.arbiters[sender].core.desk
        for record, body in zip(desk.in_flight, desk.unread, strict=True):
            self.append(Append(record, body), sender)

    def _store(self, append: Append, era: int) -> None:
        if era != self._era and self._random() < 0.5:
            return
        self.journal.append(append)
        if self.truth.apply(append.record, append.body) is Verdict.VALID:
            self._stored(append.record)
        for arbiter in self.arbiters.values():
            self.pump(arbiter)

    def _deliver_records(self, arbiter: ArbiterHost) -> None:
        self._reading.discard(arbiter.name)
        if arbiter.alive and arbiter.name not in self.cut and arbiter.name not in self.hung:
            arbiter.run(self._read, arbiter)
            if not arbiter.stopped:
                self.pump(arbiter)

    def _read(self, arbiter: ArbiterHost) -> None:
        while arbiter.read_to < len(self.journal) and arbiter.alive and not arbiter.stopped:
            arbiter.read_to += 1
            arbiter.read(self.journal[arbiter.read_to - 1], arbiter.read_to - 1)
