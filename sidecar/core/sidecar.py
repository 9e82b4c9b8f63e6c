"""The sidecar's decisions: heartbeats, the lease, latched halts, and from them the gate page.

Owns the holder's side of DESIGN section 6. It must not know sockets, files or clocks: times are CLOCK_BOOTTIME
nanoseconds given as arguments, and what must happen comes back as outputs, to be done in the order given.

Theory. A heartbeat's send time `s` is remembered by `seq`; a `Lease` for that seq makes the held slots good until
s + D, whatever the delay of the answer: late answers grant less, stale ones nothing. The page is closed by its own
deadline, so every path below only ever has to *extend* it, or to close it early.

| session  | input              | next     | outputs, in order                                     |
|----------|--------------------|----------|-------------------------------------------------------|
| none     | attach             | standby  | WritePage                                             |
| standby  | lease with slots   | holding  | WritePage                                             |
| holding  | lease with slots   | holding  | WritePage (later deadline)                            |
| holding  | lease without them | standby  | WritePage (closed), Publish(Released)                 |
| holding  | detach             | none     | WritePage (closed), Publish(Released)                 |
| holding  | deadline passes    | lapsed   | WritePage; a later lease with the same token reopens  |
| any      | halt               | same     | WritePage, SaveControl, Accept                        |
| any      | control state      | same     | WritePage, SaveControl                                |

Tokens: nothing below the highest token seen for a slot is accepted, and nothing at or below one that was given back.
"""

from collections import deque
from dataclasses import dataclass

import msgspec

from sidecar.core.ladder import ControlMemory, Subject, concerns, forbidding, level_of, order_scopes, sentence
from sidecar.core.page import Page
from sidecar.core.timing import MS, Timing
from sidecar.messages.base import Message, SlotToken, Token
from sidecar.messages.control import ControlState, Halt, HaltAccepted, TradingState
from sidecar.messages.health import Heartbeat, Lease, Released
from sidecar.messages.local import GateStatus, OrderRequest
from sidecar.messages.orders import OrderIntent
from sidecar.messages.state import SlotState

OBSERVE_ONLY_NS = 10_000 * MS
"""The default time without any answer after which a sidecar says that it can only watch."""
SENT_MAX = 256
"""Heartbeats whose send time is remembered. At the default interval that is a minute, forty leases long."""


class WritePage(msgspec.Struct, frozen=True, gc=False):
    """Write the gate page now, before anything else that follows."""

    page: Page


@dataclass(frozen=True, slots=True)
class SaveControl:
    """Keep the latched halts on disk."""

    memory: ControlMemory


@dataclass(frozen=True, slots=True)
class Publish:
    """Send this message to the arbiters."""

    message: Message


@dataclass(frozen=True, slots=True)
class Accept:
    """Acknowledge this halt to its issuer, with the time after the page was written."""

    halt: Halt


Output = WritePage | SaveControl | Publish | Accept


@dataclass(frozen=True, slots=True)
class Denial:
    """The sidecar's own no: `code` for programs, `text` for people."""

    code: str
    text: str


class Sidecar:
    """One sidecar's state; every method takes the time and returns what must be done, in order."""

    def __init__(
        self,
        component: str,
        group: str,
        timing: Timing,
        memory: ControlMemory,
        run: str = "",
        observe_only_ns: int = OBSERVE_ONLY_NS,
    ) -> None:
        self.component = component
        self.group = group
        self.memory = memory
        self.incarnation = ""
        self.deadline_ns = 0
        self.slots: tuple[SlotToken, ...] = ()
        self.standby_reason = "no component is attached"
        self._timing = timing
        self._run = run
        self._observe_only_ns = observe_only_ns
        self._answered_ns = 0
        self._seq = 0
        self._answered_seq = 0
        self.startable = False
        self.states: tuple[SlotState, ...] = ()
        self.doubts: tuple[str, ...] = ()
        self._leased_seq = 0
        self._leased_n = 0
        self._sent: deque[tuple[int, int]] = deque(maxlen=SENT_MAX)
        self._term = 0
        self._highest: dict[str, Token] = {}
        self._given_back: dict[str, Token] = {}
        self._ready = False
        self._reasons: tuple[str, ...] = ()
        self._configured_group = group
        self._misplaced = ""
        self._subject = Subject(component=component, group=group)

    # --- the component ---

    def attach(self, incarnation: str, now_ns: int) -> list[Output]:
        """A new run of the component opened its session; it starts as STANDBY."""
        outputs = self.detach("a new session took over", now_ns) if self.incarnation else []
        self.incarnation = incarnation
        self._sent.clear()  # What was sent for another incarnation grants nothing to this one.
        self._ready, self._reasons = True, ()
        self._answered_ns = now_ns
        self.standby_reason = "waiting for a lease"
        return [*outputs, self._page(now_ns)]

    def detach(self, reason: str, now_ns: int) -> list[Output]:
        """The component's run ended: close first, then give the slots back."""
        if not self.incarnation:
            return []
        lost, incarnation = self.slots, self.incarnation
        self.slots, self.incarnation, self.deadline_ns = (), "", 0
        self._ready, self._reasons = False, (reason,)
        self.standby_reason = f"no component is attached: {reason}"
        return [self._page(now_ns), *self._give_back(lost, incarnation, reason, ended=True)]

    def set_health(self, ready: bool, reasons: tuple[str, ...]) -> None:
        """The component's own word; an unready component is no candidate for a slot."""
        if self.incarnation:
            self._ready, self._reasons = ready, reasons

    # --- the arbiter ---

    def heartbeat(self, now_ns: int) -> Heartbeat:
        """The next heartbeat; `now_ns` is its send time, and must be taken before it is sent."""
        self._seq += 1
        self._sent.append((self._seq, now_ns))
        return Heartbeat(
            component=self.component,
            incarnation=self.incarnation,
            seq=self._seq,
            ready=self._ready and not self._misplaced,
            run=self._run,
            reasons=(*self._reasons, self._misplaced) if self._misplaced else self._reasons,
            role="ACTIVE" if self.holding(now_ns) else "STANDBY",
            control_version=self.memory.version,
            unconfirmed_halts=self.memory.unconfirmed,
            answered=self._answered_seq,
            startable=self.startable and not self.incarnation,
            states=self.states,
            doubts=self.doubts,
        )

    def on_lease(self, lease: Lease, now_ns: int) -> list[Output]:
        """The leader's answer to a heartbeat of this incarnation; anything older or stranger changes nothing."""
        sent_ns = self._sent_ns(lease.seq)
        if sent_ns is None or lease.incarnation != self.incarnation or not self.incarnation:
            return []
        self._answered_ns = now_ns
        if (
            now_ns < sent_ns + self._timing.holder_lease_ns
        ):  # One that comes later grants nothing, and is as good as none.
            self._answered_seq = max(self._answered_seq, lease.seq)
        if lease.term < self._term or lease.seq < self._leased_seq:
            return []
        if lease.term == self._term and lease.seq == self._leased_seq and lease.n < self._leased_n:
            return []  # Overtaken by a later answer to the same heartbeat.
        if lease.control_version > self.memory.version:
            self.standby_reason = "a newer control state is on its way; the lease waits for it"
            return []
        self._term, self._leased_seq, self._leased_n = lease.term, lease.seq, lease.n
        if lease.group != self.group or self._misplaced:
            self._join(lease.group)
        if self._misplaced:
            return self._hold_nothing(lease.slots, now_ns)
        gone = self._keep(lease.slots) if lease.slots != self.slots else ()  # Nearly always the same as before.
        kept, self.standby_reason = self.slots, lease.standby_reason
        self.deadline_ns = sent_ns + max(0, min(lease.ttl_ns, self._timing.holder_lease_ns)) if kept else 0
        reason = lease.standby_reason or "the arbiter withdrew the slot"
        return [self._page(now_ns), *self._give_back(gone, self.incarnation, reason)]

    def on_halt(self, halt: Halt, now_ns: int) -> list[Output]:
        """A halt on the fast path: latched, and acknowledged each time it comes."""
        changed = self._remember(self.memory.heard(halt), now_ns)
        return [*changed, Accept(halt)]

    def on_control(self, state: ControlState, now_ns: int) -> list[Output]:
        """The journaled halts. The next heartbeat carries their version, which is their acknowledgement."""
        return self._remember(self.memory.told(state), now_ns)

    # --- what others ask ---

    def holding(self, now_ns: int) -> bool:
        """Whether any slot is held under a lease that still runs."""
        return bool(self.slots) and now_ns < self.deadline_ns

    @property
    def answered_ns(self) -> int:
        """When this incarnation was last answered, or attached."""
        return self._answered_ns

    def observe_only(self, now_ns: int) -> bool:
        """Whether arbiters left this incarnation unanswered for so long that it can only watch."""
        return bool(self.incarnation) and now_ns - self._answered_ns >= self._observe_only_ns

    def concerned(self, halt: Halt) -> bool:
        """Whether a halt closes this gate, at least to some orders, whoever holds what."""
        return concerns(halt, self._subject)

    def in_scope(self, halt: Halt) -> bool:
        """Whether a halt concerns this component, or may concern orders of it."""
        return concerns(halt, self._subject) or bool(order_scopes([halt]))

    def accepted(self, halt: Halt, closed_ns: int) -> HaltAccepted:
        """The acknowledgement of a halt, once its page has been written at `closed_ns`."""
        level, _ = level_of(self.memory.in_force, self._subject)
        return HaltAccepted(
            component=self.component,
            incarnation=self.incarnation,
            halt_id=halt.halt_id,
            closed_ns=closed_ns,
            in_scope=self.in_scope(halt),
            trading_state=level,
        )

    def deny(self, request: OrderRequest, now_ns: int) -> Denial | None:
        """Why this order must not even be asked for, or None."""
        if not self.incarnation:
            return Denial("NO_SESSION", "no component session is open: open GET /v1/session first")
        halt = forbidding(
            self.memory.in_force,
            Subject(
                component=self.component,
                group=self.group,
                venue=request.venue,
                account=request.account,
                symbol=request.symbol,
                strategy=request.strategy,
            ),
            kind=request.kind,
            reduces_risk=request.reduces_risk,
        )
        if halt is not None:
            return Denial(halt.level.name, sentence(halt))
        if not self.holding(now_ns):
            return Denial("NO_LEASE", self.why_closed(now_ns))
        if self._slot_for(request) is None:
            held = ", ".join(each.slot for each in self.slots)
            return Denial("NO_SLOT", f"slot {request.slot!r} is not held here; name one of: {held}")
        return None

    def intent(self, request: OrderRequest) -> OrderIntent | None:
        """The intent to send for a request that was not denied, under the slot's token; None without a slot."""
        held = self._slot_for(request)
        if held is None:
            return None
        return OrderIntent(
            cl_ord_id=request.cl_ord_id,
            component=self.component,
            incarnation=self.incarnation,
            slot=held.slot,
            token=held.token,
            account=request.account,
            venue=request.venue,
            symbol=request.symbol,
            side=request.side,
            qty=request.qty,
            price=request.price,
            kind=request.kind,
            strategy=request.strategy,
            reduces_risk=request.reduces_risk,
            orig_cl_ord_id=request.orig_cl_ord_id,
            to_account=request.to_account,
        )

    def recheck(self, request: OrderRequest, intent: OrderIntent, now_ns: int) -> Denial | None:
        """Why a granted order must not be passed on, or None: what was true at the question may not be any more.

        A slot that was lost meanwhile and is held again is held under another token, and somebody else's orders may
        have come in between.
        """
        denial = self.deny(request, now_ns)
        if denial is not None:
            return denial
        if self.incarnation != intent.incarnation:
            return Denial("SESSION_CHANGED", "a new session took over while the order was asked for")
        held = self._slot_for(request)
        if held is None or (held.slot, held.token) != (intent.slot, intent.token):
            return Denial("NO_SLOT", f"slot {intent.slot} was lost while the order was asked for: ask again")
        return None

    def page(self, now_ns: int) -> Page:
        """The gate page as of `now_ns`."""
        in_force = self.memory.in_force
        level, reducing = level_of(in_force, self._subject)
        return Page(
            role="ACTIVE" if self.holding(now_ns) else "STANDBY",
            trading_state=level,
            reducing_allowed=reducing,
            deadline_ns=self.deadline_ns if self.slots else 0,
            token=max([each.token for each in self.slots]) if self.slots else None,
            incarnation=self.incarnation,
            control_version=self.memory.version,
            scoped=order_scopes(in_force) if in_force else (),
        )

    def why_closed(self, now_ns: int) -> str:
        """One sentence on why the gate is closed; empty when it is open."""
        level, _ = level_of(self.memory.in_force, self._subject)
        if level is not TradingState.ACTIVE:
            halt = forbidding(self.memory.in_force, self._subject, kind="NEW", reduces_risk=False)
            return sentence(halt) if halt else level.name
        if self.holding(now_ns):
            return ""
        if self.observe_only(now_ns):
            silent_s = (now_ns - self._answered_ns) // 10**9
            return f"OBSERVE_ONLY: no arbiter has answered for {silent_s} s; it goes on sending heartbeats and health"
        if self.slots:
            return "the lease ran out: no arbiter answered a heartbeat in time"
        return self.standby_reason or "another member holds the slot"

    def status(self, now_ns: int) -> GateStatus:
        """The gate in words, for the local interface."""
        reason = self.why_closed(now_ns)
        level, _ = level_of(self.memory.in_force, self._subject)
        return GateStatus(
            component=self.component,
            incarnation=self.incarnation,
            open=not reason,
            role="ACTIVE" if self.holding(now_ns) else "STANDBY",
            trading_state=level,
            slots=self.slots,
            deadline_ns=self.deadline_ns if self.slots else 0,
            control_version=self.memory.version,
            reason=reason,
        )

    # --- inside ---

    def _join(self, group: str) -> None:
        """Take the leader's word for our group, unless our own configuration names another one."""
        ours = self._configured_group
        self._misplaced = ""
        if ours and group and group != ours:
            self._misplaced = f"its own configuration says group {ours}, the arbiter's {group}: make the two agree"
        elif group:  # A leader that knows of none takes nothing back: halts of the last one still concern us.
            self.group, self._subject = group, Subject(component=self.component, group=group)

    def _hold_nothing(self, offered: tuple[SlotToken, ...], now_ns: int) -> list[Output]:
        """Close, and give back whatever was held or is offered."""
        given_back = tuple(dict.fromkeys((*self.slots, *offered)))
        self.slots, self.deadline_ns, self.standby_reason = (), 0, self._misplaced
        return [self._page(now_ns), *self._give_back(given_back, self.incarnation, self._misplaced)]

    def _sent_ns(self, seq: int) -> int | None:
        for sent_seq, at_ns in reversed(self._sent):  # Mostly the last.
            if sent_seq == seq:
                return at_ns
        return None

    def _keep(self, leased: tuple[SlotToken, ...]) -> tuple[SlotToken, ...]:
        """Hold what is leased and acceptable from now on; what is to be given back, lost or refused."""
        kept = tuple(sorted(filter(self._acceptable, leased)))
        lost = tuple([each for each in self.slots if each not in kept])
        refused = tuple(filter(self._was_given_back, leased))
        self._highest.update({each.slot: each.token for each in kept})
        self.slots = kept
        return (*lost, *refused)

    def _acceptable(self, held: SlotToken) -> bool:
        highest = self._highest.get(held.slot)
        return not self._was_given_back(held) and (highest is None or held.token >= highest)

    def _was_given_back(self, held: SlotToken) -> bool:
        """A slot that was given back under this token or a later one is somebody else's by now."""
        given_back = self._given_back.get(held.slot)
        return given_back is not None and held.token <= given_back

    def _slot_for(self, request: OrderRequest) -> SlotToken | None:
        if not request.slot:
            return self.slots[0] if len(self.slots) == 1 else None
        return next((each for each in self.slots if each.slot == request.slot), None)

    def _give_back(
        self, lost: tuple[SlotToken, ...], incarnation: str, reason: str, *, ended: bool = False
    ) -> list[Output]:
        """To be done only after the page that no longer shows these slots was written."""
        if not lost:
            return []
        for each in lost:
            self._given_back[each.slot] = max(each.token, self._given_back.get(each.slot, each.token))
        released = Released(component=self.component, incarnation=incarnation, slots=lost, reason=reason, ended=ended)
        return [Publish(released)]

    def _remember(self, memory: ControlMemory, now_ns: int) -> list[Output]:
        if memory is self.memory:
            return []
        self.memory = memory
        return [self._page(now_ns), SaveControl(memory)]

    def _page(self, now_ns: int) -> WritePage:
        return WritePage(self.page(now_ns))
