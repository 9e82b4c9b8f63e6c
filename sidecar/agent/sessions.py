"""The component's session: a stream that is open for as long as this run of the component lives.

Owns the one session of the moment and its end. It must not know HTTP. The session's end is the component's death: the
gate is closed before anything else is done.
"""

import uuid
from collections import deque
from typing import Final

import msgspec
import structlog

from sidecar.agent.clock import boottime_ns
from sidecar.agent.events import Events
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.heartbeats import Heartbeats
from sidecar.agent.state_keep import StateKeep
from sidecar.agent.streams import Receive, Send, Stream
from sidecar.core.ladder import ControlMemory
from sidecar.core.timing import MS
from sidecar.messages.base import SlotToken
from sidecar.messages.local import GateStatus, HaltsInForce, SessionOpened

OPENINGS_MAX: Final = 50
"""Sessions opened within `OPENINGS_WINDOW_NS`. Each one moves slots: higher lets a component that opens them in a ring
load the arbiters and their journal."""
OPENINGS_WINDOW_NS: Final = 10_000 * MS


class TooManySessions(Exception):
    """Sessions are opened faster than components can be restarted; the one that is open goes on."""


class Session(Stream):
    """One run of the component."""

    def __init__(self, component: str) -> None:
        super().__init__(component)
        self.incarnation = uuid.uuid4().hex


class Sessions:
    """At most one session at a time; a newer one takes over. `events` are told all that it is told."""

    def __init__(self, gatekeeper: Gatekeeper, heartbeats: Heartbeats, gate_path: str, states: StateKeep) -> None:
        self.current: Session | None = None
        self.events = Events(gatekeeper.core.component)
        self._gatekeeper = gatekeeper
        self._heartbeats = heartbeats
        self._held: frozenset[SlotToken] = frozenset()
        self._gate_path = gate_path
        self._states = states
        self._opened_ns: deque[int] = deque(maxlen=OPENINGS_MAX)
        self._closed = ""
        self._log = structlog.get_logger(__name__)

    @property
    def closed(self) -> str:
        """Why no session can be opened any more; empty while one can."""
        return self._closed

    def announce(self, status: GateStatus) -> None:
        """Tell the session of a change of the gate, and the arbiters at once of slots that were won.

        Without the extra heartbeat their history would know of it only with the next one.
        """
        self.tell(status)
        held, self._held = self._held, frozenset(status.slots)
        if self._held - held:
            self._heartbeats.send()

    def announce_halts(self, memory: ControlMemory) -> None:
        """Tell the session of a change of the latched halts, whether they concern the gate or not."""
        self.tell(self._halts(memory))

    def tell(self, line: msgspec.Struct) -> None:
        """Tell the session of the moment, if there is one, and everybody who watches."""
        if self.current is not None:
            self.current.tell(line)
        self.events.tell(line)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Hold one session open on a connection; returns when it is over. Raises TooManySessions before it begins."""
        session = self._open()
        await session.serve(receive, send, lambda reason: self._over(session, reason))

    async def watch(self, receive: Receive, send: Send) -> None:
        """Hold a stream of events open on a connection. Raises TooManyStreams before it begins."""
        first = (self._gatekeeper.status(), self._halts(self._gatekeeper.core.memory))
        await self.events.serve(receive, send, first)

    def detach(self, reason: str) -> None:
        """The component is dead whatever its session says: its process exited, or we stop."""
        if self.current is not None:
            self._over(self.current, reason)

    def close(self, reason: str) -> None:
        """Detach, and take no more sessions and watchers."""
        self._closed = reason
        self.detach(reason)
        self.events.close(reason)

    def _open(self) -> Session:
        self._count_opening()
        session = Session(self._gatekeeper.core.component)
        previous, self.current = self.current, None
        if previous is not None:
            previous.end("a new session took over")
        latest = self._states.only
        session.tell(
            SessionOpened(
                component=session.component,
                incarnation=session.incarnation,
                gate_path=self._gate_path,
                state_version=latest.version if latest else 0,
            )
        )
        self._gatekeeper.do(self._gatekeeper.core.attach(session.incarnation, boottime_ns()))
        session.tell(self._gatekeeper.status())
        if self._gatekeeper.core.memory.in_force:
            session.tell(self._halts(self._gatekeeper.core.memory))
        self.current = session
        self._log.info("a component attached", incarnation=session.incarnation)
        self._heartbeats.send()
        return session

    def _over(self, session: Session, reason: str) -> None:
        """Once, and only for the session of the moment: an old one's end is no news of the new one."""
        if session is self.current:
            # The gate first; the session hears of it as its last change.
            self._gatekeeper.do(self._gatekeeper.core.detach(reason, boottime_ns()))
            self.current = None
            self._log.info("the component detached", incarnation=session.incarnation, reason=reason)
            self._heartbeats.send()
        session.end(reason)

    def _halts(self, memory: ControlMemory) -> HaltsInForce:
        component = self._gatekeeper.core.component
        return HaltsInForce(component=component, control_version=memory.version, halts=memory.in_force)

    def _count_opening(self) -> None:
        now_ns, opened = boottime_ns(), self._opened_ns
        if len(opened) == OPENINGS_MAX and now_ns - opened[0] < OPENINGS_WINDOW_NS:
            within_s = OPENINGS_WINDOW_NS // 10**9
            raise TooManySessions(f"{OPENINGS_MAX} sessions were opened within {within_s} s: open one and keep it")
        opened.append(now_ns)
