"""What must hold in true time, checked as it happens.

Owns the invariants: at most one incarnation's gate passes for a slot at any true moment (G1); a gate passes only under
a grant that stands in the journal (G5); once a halt is journaled every gate is closed when the leases then held run
out, and opens again only when it is lifted (G2, G3); and once all is healed every slot has a holder again. It must not
look into any core's beliefs: it sees gate pages, as a component would, and the journal, as an auditor would.
"""

from dataclasses import dataclass

from sidecar.messages.base import Token


@dataclass(slots=True)
class Claim:
    """An open gate: until `until_ns` of true time, plus `effect_ns` for what passed it at the last moment."""

    incarnation: str
    token: Token
    from_ns: int
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
    """Watches every gate page of one run."""

    def __init__(self, seed: int, effect_ns: int, lease_ns: int) -> None:
        self.violations: list[Violation] = []
        self.holders_seen: dict[str, int] = {}
        self._seed = seed
        self._effect_ns = effect_ns
        self._lease_ns = lease_ns
        self._granted: set[tuple[str, str, Token]] = set()
        self._closed_from_ns: int | None = None
        self._claims: dict[str, dict[str, Claim]] = {}

    def opened(self, slot: str, incarnation: str, token: Token, until_ns: int, now_ns: int) -> None:
        """A page was written under which `incarnation` passes for `slot` until `until_ns` of true time."""
        if (slot, incarnation, token) not in self._granted:
            self._violated(now_ns, "in the journal", f"{incarnation} opens {slot} with {token}, which no record grants")
        if self._closed_from_ns is not None and until_ns > self._closed_from_ns:
            self._violated(now_ns, "halt wins", f"{incarnation} opens {slot} although a halt is journaled")
        claims = self._claims.setdefault(slot, {})
        for other in claims.values():
            if other.incarnation != incarnation and other.until_ns + other.effect_ns > now_ns:
                self._violated(
                    now_ns,
                    "one holder",
                    f"{incarnation} ({token}) opens {slot} while {other.incarnation} ({other.token}) "
                    f"may act for another {(other.until_ns + other.effect_ns - now_ns) / 1e6:.1f} ms",
                )
            if other.incarnation != incarnation and other.token >= token:
                self._violated(now_ns, "tokens rise", f"{incarnation} opens {slot} with {token} after {other.token}")
        mine = claims.get(incarnation)
        if mine is None:
            self.holders_seen[slot] = self.holders_seen.get(slot, 0) + 1
            claims.clear()  # Older claims were judged above; only the newest can still matter.
        claims[incarnation] = Claim(incarnation, token, now_ns, until_ns, self._effect_ns)

    def closed(self, slot: str, incarnation: str, now_ns: int) -> None:
        """The page was closed by its writer, before or after its deadline, and the slot may be given back.

        What passed just before meets the commit verifier, which knows the new token (DESIGN sections 6.3 and 6.5).
        """
        claim = self._claims.get(slot, {}).get(incarnation)
        if claim is not None:
            claim.until_ns, claim.effect_ns = min(claim.until_ns, now_ns), 0

    def granted(self, slot: str, incarnation: str, token: Token) -> None:
        """A valid record that grants this was stored."""
        self._granted.add((slot, incarnation, token))

    def halted(self, now_ns: int) -> None:
        """A valid record that halts everything was stored."""
        if self._closed_from_ns is not None:
            return
        self._closed_from_ns = now_ns + self._lease_ns
        for slot, claims in self._claims.items():
            for each in claims.values():
                if each.until_ns > self._closed_from_ns:
                    self._violated(now_ns, "halt wins", f"{each.incarnation} may act on {slot} for longer than a lease")

    def lifted(self) -> None:
        """No halt is in force any more."""
        self._closed_from_ns = None

    def held(self, slot: str, now_ns: int) -> bool:
        """Whether some gate passes for the slot now."""
        return any(each.until_ns > now_ns for each in self._claims.get(slot, {}).values())

    def healed(self, slot: str, now_ns: int) -> None:
        """All faults ended long enough ago: the slot must be held."""
        if not self.held(slot, now_ns):
            self._violated(now_ns, "liveness", f"{slot} has no holder although all is healed")

    def _violated(self, now_ns: int, rule: str, text: str) -> None:
        self.violations.append(Violation(self._seed, now_ns, rule, text))
