"""What must hold in true time, checked as it happens.

Owns the invariants: at most one incarnation's gate passes for a slot at any true moment (G1); a gate passes only under
a grant that stands in the journal (G5); tokens never go down, neither at a gate nor in the journal, which is what the
commit verifier goes by; what a halt closes is closed and stays so (G2, G3: `latches.py`); nothing fails over where
nothing failed, nor past the brake; all arbiters fold the same state (G7); and once all is healed every slot has a
holder again, whose gate lets everything pass. A holder under a halt is a holder: its cancels pass. It must not look
into any core's beliefs: it sees gate pages, as a component would, and the journal, as an auditor would.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sidecar.messages.base import Token
from sidecar.simulator.clocks import S
from sidecar.simulator.latches import Latches

NOBODY = Token(0, 0)


@dataclass(slots=True)
class Claim:
    """An open gate: until `until_ns` of true time, plus `effect_ns` for what passed it at the last moment.

    `signed_ns` is the last sign of life: when the page was last written.
    """

    incarnation: str
    token: Token
    signed_ns: int
    until_ns: int
    effect_ns: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise, with the seed that shows it again."""

    seed: int
    at_ns: int
    rule: str
    text: str


class Referee:
    """Watches every gate page of one run, and measures what it sees; `say` is told each gate's opening and closing.

    `groups` are the components' own; `resumers` operators are needed to lift a halt. A holder's lease ends within
    `lease_ns` of true time, a leader's within `leader_lease_ns`.
    """

    def __init__(
        self,
        seed: int,
        groups: Mapping[str, str],
        operators: frozenset[str],
        *,
        effect_ns: int,
        lease_ns: int,
        leader_lease_ns: int,
        resumers: int = 1,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.violations: list[Violation] = []
        self.holders_seen: dict[str, int] = {}
        self.failover_ms: list[float] = []
        self.no_holder_ns = 0
        self._say = say
        self._seed = seed
        self._effect_ns = effect_ns
        self.latches = Latches(groups, operators, lease_ns, leader_lease_ns, self.violated, resumers=resumers)
        self._granted: set[tuple[str, str, Token]] = set()
        self._newest: dict[str, Token] = {}
        self._claims: dict[str, dict[str, Claim]] = {}

    def opened(self, slot: str, incarnation: str, token: Token, until_ns: int, now_ns: int) -> None:
        """A page was written under which `incarnation` passes for `slot` until `until_ns` of true time."""
        if (slot, incarnation, token) not in self._granted:
            self.violated(now_ns, "in the journal", f"{incarnation} opens {slot} with {token}, which no record grants")
        claims = self._claims.setdefault(slot, {})
        mine = claims.get(incarnation)
        if mine is not None and len(claims) == 1 and token == mine.token and mine.until_ns > now_ns:
            mine.signed_ns, mine.until_ns, mine.effect_ns = now_ns, until_ns, self._effect_ns
            return
        self._judge(slot, incarnation, token, now_ns)
        self._measure(slot, incarnation, now_ns)
        if mine is None:
            self.holders_seen[slot] = self.holders_seen.get(slot, 0) + 1
            claims.clear()  # Older claims were judged above; only the newest can still matter.
        claims[incarnation] = Claim(incarnation, token, now_ns, until_ns, self._effect_ns)
        if self._say is not None:
            self._say(f"gate   {slot} open for {incarnation} under {token}")

    def closed(self, slot: str, incarnation: str, now_ns: int) -> None:
        """The page was closed by its writer, before or after its deadline, and the slot may be given back.

        What passed just before meets the commit verifier, which knows the new token (DESIGN sections 6.3 and 6.5).
        """
        claim = self._claims.get(slot, {}).get(incarnation)
        if claim is None:
            return
        if self._say is not None:
            self._say(
                f"gate   {slot} closed by {incarnation}{'' if claim.until_ns > now_ns else ', its lease was over'}"
            )
        claim.until_ns, claim.effect_ns = min(claim.until_ns, now_ns), 0
        claim.signed_ns = max(claim.signed_ns, claim.until_ns)

    def granted(self, slot: str, incarnation: str, token: Token, now_ns: int) -> None:
        """A valid record that grants this was stored."""
        self._granted.add((slot, incarnation, token))
        newest = self._newest.get(slot, NOBODY)
        if token <= newest:
            self.violated(now_ns, "tokens rise", f"the journal grants {slot} with {token} after {newest}")
        self._newest[slot] = max(token, newest)

    def moved_in_peace(self, slot: str, cause: str, now_ns: int) -> None:
        """A slot failed over although nothing has failed in this run."""
        self.violated(now_ns, "no failover in peace", f"{slot} moved without any fault: {cause}")

    def over_the_limit(self, slot: str, failovers: int, now_ns: int) -> None:
        """A slot failed over although the brake was on."""
        self.violated(now_ns, "failover limit", f"{slot} moved although the brake was on: failover {failovers}")

    def differs(self, arbiter: str, text: str, now_ns: int) -> None:
        """An arbiter found that it folded another state than the journal says."""
        self.violated(now_ns, "same state", f"{arbiter}: {text}")

    def holder(self, slot: str, now_ns: int) -> str:
        """The incarnation whose gate passes for the slot now, at least for cancels; empty when there is none."""
        return next((each.incarnation for each in self._claims.get(slot, {}).values() if each.until_ns > now_ns), "")

    def healed(self, slot: str, now_ns: int, bound_ns: int) -> None:
        """All faults ended `bound_ns` ago, and operators have lifted all halts: somebody must act on the slot."""
        holder = self.holder(slot, now_ns)
        problem = f"is closed: {self.latches.closing(holder)}" if holder else "has no holder"
        if not holder:
            self._measure(slot, "", now_ns)
        if not holder or self.latches.closing(holder):
            self.violated(now_ns, "liveness", f"{slot} {problem}, {bound_ns / S:.1f} s after all was healed")

    # --- inside ---

    def _judge(self, slot: str, incarnation: str, token: Token, now_ns: int) -> None:
        for other in self._claims[slot].values():
            if other.incarnation == incarnation:
                continue
            if other.until_ns + other.effect_ns > now_ns:
                self.violated(
                    now_ns,
                    "one holder",
                    f"{incarnation} ({token}) opens {slot} while {other.incarnation} ({other.token}) "
                    f"may act for another {(other.until_ns + other.effect_ns - now_ns) / 1e6:.1f} ms",
                )
            if other.token >= token:
                self.violated(now_ns, "tokens rise", f"{incarnation} opens {slot} with {token} after {other.token}")

    def _measure(self, slot: str, incarnation: str, now_ns: int) -> None:
        """How long nobody held the slot, and from the last sign of life of one holder to the next one's opening."""
        last = max(self._claims.get(slot, {}).values(), key=lambda each: each.until_ns, default=None)
        if last is None:
            return
        self.no_holder_ns += max(0, now_ns - last.until_ns)
        if incarnation and incarnation != last.incarnation:
            self.failover_ms.append((now_ns - last.signed_ns) / 1e6)

    def violated(self, now_ns: int, rule: str, text: str) -> None:
        """A promise is broken."""
        self.violations.append(Violation(self._seed, now_ns, rule, text))
        if self._say is not None:
            self._say(f"BROKEN {rule}: {text}")
