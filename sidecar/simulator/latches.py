"""Which gates a halt must keep closed, from when, and who may open them again: G2 and G3, in true time.

Owns what each gate page lets pass, as a component would read it, and what is known of each halt:

| what happened                     | every gate in scope must be closed to that level                              |
|-----------------------------------|-------------------------------------------------------------------------------|
| a sidecar acknowledged it         | that sidecar's own, before it said so, and from then on                       |
| its issuer was told: accepted     | when the leases then held have run out; it must stand in the journal          |
| it stands in the journal          | when a leader that did not know it, and the leases it renewed, have run out   |
| a sidecar cannot read its memory  | that sidecar's own, at once, until the halt that it then makes is lifted      |
| a record lifts it                 | no longer; enough operators must have asked for it by name, with a reason     |

A halt that only one sidecar has heard, and whose memory is then lost, has left no trace anywhere: the halt that this
sidecar makes of the loss stands for it. It must not look into any core's beliefs.
"""

from collections.abc import Callable, Mapping

from sidecar.core.ladder import ORDER_SCOPE_KINDS
from sidecar.core.page import CLOSED, Page
from sidecar.gate.reader import passes
from sidecar.messages.control import Halt, ResumeRequest, TradingState

HALT_WINS = "halt wins"
CLOSED_FIRST = "closed before acknowledged"
NO_RESUME = "nothing resumes by itself"


class Latches:
    """All halts of one run. `groups` says which group each component is in; `violated` is told (time, rule, text)."""

    def __init__(
        self,
        groups: Mapping[str, str],
        operators: frozenset[str],
        lease_ns: int,
        leader_lease_ns: int,
        violated: Callable[[int, str, str], None],
        *,
        resumers: int = 1,
    ) -> None:
        self._groups = groups
        self._operators = operators
        self._resumers = resumers
        self._lease_ns = lease_ns
        self._leader_lease_ns = leader_lease_ns
        self._violated = violated
        self._read_page: dict[str, Callable[[], tuple[Page, int]]] = {}
        self._halts: dict[str, Halt] = {}
        self._journaled: set[str] = set()
        self._lifted: set[str] = set()
        self._asked: dict[str, set[str]] = {}
        self._closed_from: dict[str, dict[str, int]] = {name: {} for name in groups}

    # --- what is seen ---

    def watch(self, component: str, read_page: Callable[[], tuple[Page, int]]) -> Mapping[str, int]:
        """From now on look at this page, and until when of true time it says so; the halts that bind the component.

        As long as there are none, nobody need tell `shown`.
        """
        self._read_page[component] = read_page
        return self._closed_from[component]

    def shown(self, component: str, now_ns: int) -> None:
        """A component's page was written."""
        for halt_id, from_ns in self._closed_from[component].items():
            self._judge(component, self._halts[halt_id], from_ns, now_ns)

    def acknowledged(self, component: str, halt: Halt, now_ns: int) -> None:
        """A sidecar says of this halt that its gate is closed."""
        if halt.halt_id in self._lifted or not self._scopes(halt, component):
            return
        page, until_ns = self._read_page[component]()
        if until_ns > now_ns and self._leaks(halt, component, page):
            self._violated(now_ns, CLOSED_FIRST, f"{component} acknowledged {halt.halt_id} and lets orders pass")
        self._bind(component, halt, now_ns)

    def raised(self, halt: Halt, now_ns: int) -> None:
        """A valid record that raises it was stored."""
        self._journaled.add(halt.halt_id)
        self._bind_all(halt, now_ns + self._leader_lease_ns + self._lease_ns, now_ns)

    def accepted(self, halt_id: str, now_ns: int) -> None:
        """Its issuer is told that it is in force, and counts on it from now on."""
        if halt_id not in self._journaled:
            self._violated(now_ns, HALT_WINS, f"{halt_id} was answered as accepted and stands in no journal")
        elif halt_id not in self._lifted:
            self._bind_all(self._halts[halt_id], now_ns + self._lease_ns, now_ns)

    def forgotten(self, component: str, halt_id: str, now_ns: int) -> None:
        """A sidecar starts and cannot read what it had latched; `halt_id` is the halt that it must make of that."""
        closed_from = self._closed_from[component]
        for only_here in [each for each in closed_from if each not in self._journaled]:
            del closed_from[only_here]
        halt = Halt(
            halt_id=halt_id,
            scopes=(f"component:{component}",),
            level=TradingState.HALTED,
            reason="its memory could not be read",
            actor=component,
            reducing_allowed=False,
        )
        self._bind(component, halt, now_ns)

    def asked(self, request: ResumeRequest, user: str) -> None:
        """Somebody, whom the broker knows as `user`, asks for a halt to be lifted."""
        if user in self._operators and request.reason.strip():
            self._asked.setdefault(request.halt_id, set()).add(user)

    def lifted(self, halt_id: str, now_ns: int) -> None:
        """A valid record that lifts it was stored."""
        if len(self._asked.get(halt_id, ())) < self._resumers:
            self._violated(
                now_ns, NO_RESUME, f"{halt_id} was lifted, and not enough operators have asked for that by name"
            )
        self._lifted.add(halt_id)
        for closed_from in self._closed_from.values():
            closed_from.pop(halt_id, None)

    def closing(self, incarnation: str) -> str:
        """What keeps this incarnation's page from letting everything pass, in words; empty when nothing does."""
        pages = (read_page()[0] for read_page in self._read_page.values())
        page = next((each for each in pages if each.incarnation == incarnation), CLOSED)
        if page.trading_state is not TradingState.ACTIVE:
            return page.trading_state.name
        return ", ".join(f"{scope} {level.name}" for scope, level in page.scoped)

    # --- inside ---

    def _bind_all(self, halt: Halt, from_ns: int, now_ns: int) -> None:
        for component in self._groups:
            if self._scopes(halt, component):
                self._bind(component, halt, from_ns)
                self._judge(component, halt, from_ns, now_ns)

    def _bind(self, component: str, halt: Halt, from_ns: int) -> None:
        self._halts[halt.halt_id] = halt
        closed_from = self._closed_from[component]
        closed_from[halt.halt_id] = min(from_ns, closed_from.get(halt.halt_id, from_ns))

    def _judge(self, component: str, halt: Halt, from_ns: int, now_ns: int) -> None:
        page, until_ns = self._read_page[component]()
        if until_ns > max(from_ns, now_ns) and self._leaks(halt, component, page):
            self._violated(now_ns, HALT_WINS, f"{component} may act although {halt.halt_id} binds it")

    def _scopes(self, halt: Halt, component: str) -> tuple[str, ...]:
        """Those of the halt's scopes that this component's orders can fall under; empty when there is none."""
        own = ("all", f"component:{component}", f"group:{self._groups[component]}")
        return tuple(each for each in halt.scopes if each in own or each.partition(":")[0] in ORDER_SCOPE_KINDS)

    def _leaks(self, halt: Halt, component: str, page: Page) -> bool:
        """Whether a component that reads this page in time sends an order which the halt forbids."""
        reducing_too = halt.level is TradingState.CANCEL_ONLY or not (
            halt.reducing_allowed or halt.level is TradingState.REDUCING
        )
        return any(
            passes(page, page.deadline_ns - 1, scopes=(scope,), kind="NEW", reduces_risk=reduces_risk)
            for scope in self._scopes(halt, component)
            for reduces_risk in ((False, True) if reducing_too else (False,))
        )
