"""State hand-over at one sidecar: our component's states go to disk and to standbys, others' come to disk here.

Owns the order of things: disk first, then whoever waits, then the others. It must not decide whose state counts
(`core/handover.py`), nor how states travel (`state_wire.py`) or are kept (`state_keep.py`).

What an answer to PUT promises: the state is on this host's disk, and is being sent. With `replicas` it promises also
that so many standbys have it on theirs, or the answer says that they did not in time; that is no loss of one point
however the host dies. Without it, what a host that dies has not sent yet is lost: docs/state.md says how much that is.

| when                                     | what                                                                    |
|------------------------------------------|-------------------------------------------------------------------------|
| our component hands one over             | fence, disk, answer, send to the group                                  |
| a state has arrived whole                | disk, heartbeats say it, acknowledge to its sender, tell our component  |
| a sidecar asks                           | send what it lacks of the slots that are held here, to it alone         |
| a doubt is new                           | one heartbeat at once; the answer brings the arbiter's word             |
| our component takes a slot               | a doubt: what is the newest state of it?                                |
| the first state is heard of              | make the connection for states, and follow them                         |
| the queue is consumed, anew              | ask: what came meanwhile was missed                                     |

Which way it fails: to the older state, and it says how old. A disk that refuses leaves the state before it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

import structlog
from msgspec.structs import replace

from sidecar.agent.clock import boottime_ns
from sidecar.agent.postbox import Postbox
from sidecar.agent.state_keep import HandedOver, StateKeep, Torn
from sidecar.agent.state_wire import StateWire
from sidecar.broker.interface import Delivery
from sidecar.broker.topology import STATE, state_asking_key, state_to_key
from sidecar.core.handover import Acknowledge, Ask, HandOver, Output, Refuse, Save
from sidecar.core.marks import Mark
from sidecar.core.sidecar import Sidecar
from sidecar.core.timing import MS
from sidecar.messages.base import Message, Token
from sidecar.messages.health import Lease
from sidecar.messages.local import GateStatus, SlotStateStatus, StateArrived, StateKept
from sidecar.messages.state import StatePiece, StateSaved, StateWanted
from sidecar.telemetry.state_figures import StateFigures

TICK_S: Final = 0.1
HURRY_NS: Final = 20 * MS
"""Between two heartbeats that only a doubt asks for. Higher confirms a new holder later; lower lets one who sends
doubtful states have us send more heartbeats."""


class StateDesk:
    """All states of one sidecar. `tell` tells the component a line; `hurry` sends a heartbeat now."""

    def __init__(
        self,
        sidecar: Sidecar,
        keep: StateKeep,
        wire: StateWire,
        postbox: Postbox,
        figures: StateFigures,
        *,
        bytes_max: int,
        others: dict[str, tuple[str, ...]],
    ) -> None:
        self.tell: Callable[[StateArrived], None] = lambda line: None
        self.hurry: Callable[[], None] = lambda: None
        self.core = HandOver(sidecar.component, bytes_max, keep.kept)
        self._sidecar = sidecar
        self._keep = keep
        self._wire = wire
        self._postbox = postbox
        self._figures = figures
        self._bytes_max = bytes_max
        self._others = others
        self._fenced = 0
        self._unasked = False
        self._followed = ""
        self._saves: OrderedDict[str, Save] = OrderedDict()
        self._to_save = asyncio.Event()
        self._news = asyncio.Event()
        self._hurried_ns = 0
        self._log = structlog.get_logger(__name__)
        wire.on_message = self._on_message
        wire.on_begun = lambda: self._do(self.core.connected())
        wire.read = self._to_send
        self._follow()
        self._sync()

    # --- our own component ---

    async def put(self, slot: str, body: bytes, version: int, token: Token) -> StateKept:
        """Keep it, and have it sent. Raises StaleVersion, or OSError when the disk refuses it."""
        self.core.taken(slot)
        kept = await self._keep.hand_over(slot, body, version, token, self._sidecar.incarnation, time.time_ns())
        first = not self.core.followed
        self.core.saved(kept, boottime_ns())
        self._sync()
        self._follow()
        self._wire.send(slot)
        if first:
            self.hurry()  # It tells the arbiter, and its answers the others, that there are states to follow.
        return kept

    def told(self, kept: StateKept) -> StateKept:
        """With the standbys that have it by now."""
        return replace(kept, replicas=self.replicas(kept))

    async def replicated(self, kept: StateKept, count: int, timeout_s: float) -> bool:
        """Whether so many standbys have it within this time."""
        return await self._until(lambda: len(self.replicas(kept)) >= count, timeout_s)

    def replicas(self, kept: StateKept) -> tuple[str, ...]:
        """The standbys that have it on their disks."""
        return self.core.replicas(kept.slot, Mark(kept.token, kept.version))

    async def get(self, slot: str, timeout_s: float = 0.0) -> HandedOver | None:
        """What is kept of the slot; waits at most `timeout_s` for what is known to be the last."""
        if timeout_s:
            await self._until(lambda: self.core.is_last(slot) is True, timeout_s)
        self.core.taken(slot)
        return await self._read(slot)

    @property
    def trouble(self) -> str:
        """Why a state could not be read; empty while all could."""
        return self._keep.trouble

    @property
    def kept(self) -> dict[str, StateKept]:
        """What is on disk here, by slot."""
        return self._keep.kept

    # --- what happens around it ---

    def notice(self, status: GateStatus) -> None:
        """The slots that are held now; to be called before any heartbeat that says so."""
        self.core.hold(status.slots if status.role == "ACTIVE" else ())
        self._sync()

    def on_lease(self, lease: Lease) -> None:
        """The arbiter's words on states."""
        if lease.words:
            self._do(self.core.words(lease.words, boottime_ns()))
            self._follow()

    def status(self) -> tuple[SlotStateStatus, ...]:
        """Every slot whose state is kept here."""
        now_ns = boottime_ns()
        return tuple(self._status(each, now_ns) for each in (one for _, one in sorted(self._keep.kept.items())))

    async def drain(self, timeout_s: float) -> None:
        """Wait a little for what is still to be sent; what is not then, is on disk here."""
        await self._wire.drain(timeout_s)

    async def run(self) -> NoReturn:
        """Everything that is not done at once, for ever."""
        async with asyncio.TaskGroup() as group:
            for work in (self._wire.receive(), self._wire.send_out(), self._save_all(), self._tick()):
                group.create_task(work)
        raise RuntimeError("what hands states over has ended")  # Its works never end but by an error.

    # --- inside ---

    def _on_message(self, message: Message, delivery: Delivery) -> None:
        sender, members = str(getattr(message, message.SENDER)), self._others.get(self.core.group)
        if members is not None and sender not in members:
            self._wire.refuse(delivery, "wrong-sender", f"{sender} is not in group {self.core.group}")
            return
        match message:
            case StatePiece():
                self._do(self.core.piece(message, delivery, boottime_ns()))
            case StateWanted():
                for slot in self.core.wanted(message):
                    self._wire.send(slot, message.component)
            case StateSaved():
                self.core.replica(message)
                self._tell_news()

    def _do(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            match output:
                case Save(kept):
                    self._saves[kept.slot] = output
                    self._to_save.set()
                case Refuse(Delivery() as delivery, code, text):
                    self._wire.refuse(delivery, code, text)
                case Acknowledge(to, kept):
                    self._acknowledge(to, kept)
                case Ask():
                    wanted = StateWanted(component=self.core.component, group=self.core.group, has=self.core.states)
                    self._unasked = not self._postbox.post(
                        STATE, state_asking_key(self.core.group, self.core.component), wanted
                    )
        self._sync()
        self._tell_news()

    async def _save_all(self) -> NoReturn:
        while True:
            await self._to_save.wait()
            self._to_save.clear()
            while self._saves:
                _, save = self._saves.popitem(last=False)
                if not self.core.refuses(save.kept):
                    await self._save(save)

    async def _save(self, save: Save) -> None:
        kept = save.kept
        try:
            await self._keep.take_over(kept, save.body, save.sha256)
        except Torn as error:
            self._do(self.core.not_saved(save, str(error)))
            return
        except OSError as error:
            self._figures.refuse("disk")
            self._log.error("a state could not be kept", slot=kept.slot, version=kept.version, error=str(error))
            return
        self.core.saved(kept, boottime_ns())
        self._figures.received.inc()
        self._do([Acknowledge(save.sender, kept)])
        self.tell(
            StateArrived(
                component=self.core.component,
                slot=kept.slot,
                version=kept.version,
                author=kept.component,
                token=kept.token,
                size=kept.size,
                at_ns=kept.at_ns,
            )
        )

    def _acknowledge(self, to: str, kept: StateKept) -> None:
        saved = StateSaved(component=self.core.component, slot=kept.slot, token=kept.token, version=kept.version)
        self._postbox.post(STATE, state_to_key(self.core.group, to), saved)

    async def _to_send(self, slot: str) -> tuple[HandedOver, Token] | None:
        under = self.core.sent_under(slot)
        state = await self._read(slot) if under is not None else None
        return None if state is None or under is None else (state, under)

    async def _read(self, slot: str) -> HandedOver | None:
        found = await self._keep.read(slot)
        if found is None:
            self.core.lost(slot)
            self._sync()
        return found

    async def _tick(self) -> NoReturn:
        while True:
            self._follow()
            self._do(self.core.tick(boottime_ns()) or ([Ask()] if self._unasked else []))
            self._publish()
            await asyncio.sleep(TICK_S)

    def _follow(self) -> None:
        """The group is the one that the arbiter says; it may be known only later, or change.

        The connection for states is made when the first state is heard of, so that who hands none over pays nothing.
        """
        group = self._sidecar.group
        if group and group != self.core.group:
            self.core.join(group)
        if self.core.group == self._followed or not (self.core.followed or self.core.states):
            return
        self._followed = group = self.core.group
        others = tuple(each for each in self._others.get(group, ()) if each != self.core.component)
        if others or group not in self._others:
            self._wire.follow(group, others, self._bytes_max)

    def _sync(self) -> None:
        """What the next heartbeat says; a new doubt does not wait for it."""
        sidecar, doubts = self._sidecar, self.core.doubts
        sidecar.states = self.core.states
        new, sidecar.doubts = set(doubts) - set(sidecar.doubts), doubts
        if new and boottime_ns() - self._hurried_ns >= HURRY_NS:
            self._hurried_ns = boottime_ns()
            self.hurry()

    def _tell_news(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _until(self, test: Callable[[], bool], timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not test():
                    await self._news.wait()
        except TimeoutError:
            return test()
        return True

    def _status(self, kept: StateKept, now_ns: int) -> SlotStateStatus:
        core, slot = self.core, kept.slot
        return SlotStateStatus(
            slot=slot,
            version=kept.version,
            token=kept.token,
            author=kept.component,
            size=kept.size,
            at_ns=kept.at_ns,
            known_version=core.known(slot).version,
            lag_ns=core.lag_ns(slot, now_ns),
            last=core.is_last(slot),
            held=slot in core.held,
            replicas=self.replicas(kept),
            unreplicated_ns=core.unreplicated_ns(slot, now_ns),
        )

    def _publish(self) -> None:
        """The figures, ten times a second; a scrape sees the worst slot of the moment."""
        figures, core, now_ns = self._figures, self.core, boottime_ns()
        slots = {*core.followed, *core.held}
        alone = not self._others.get(core.group, ("",))[1:]
        figures.lag_seconds.set(max((core.lag_ns(each, now_ns) for each in slots), default=0) / 1e9)
        behind = (core.known(each).version - core.mark(each).version for each in slots)
        figures.versions_behind.set(max(0, max(behind, default=0)))
        unreplicated_ns = max((core.unreplicated_ns(each, now_ns) for each in core.held), default=0)
        figures.unreplicated_seconds.set(0 if alone else unreplicated_ns / 1e9)
        figures.bytes.set(sum(each.size for each in self._keep.kept.values()))
        figures.connected.set(not self._wire.trouble)
        if core.fenced > self._fenced:
            figures.refuse("past", core.fenced - self._fenced)
            self._fenced = core.fenced
