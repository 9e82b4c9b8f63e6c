"""What must hold in true time, checked as it happens.

Owns the two invariants of this version: at most one incarnation's gate passes for a slot at any true moment (G1), and
once all is healed every slot with a ready member has a holder again. It must not look into any core's beliefs: it
sees only gate pages, as a component would.
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

    def __init__(self, seed: int, effect_ns: int) -> None:
        self.violations: list[Violation] = []
        self.holders_seen: dict[str, int] = {}
        self._seed = seed
        self._effect_ns = effect_ns
        self._claims: dict[str, dict[str, Claim]] = {}

    def opened(self, slot: str, incarnation: str, token: Token, until_ns: int, now_ns: int) -> None:
        """A page was written under which `incarnation` passes for `slot` until `until_ns` of true time."""
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
        """The page was closed early. What passed just before meets the commit verifier, which knows the new token."""
        claim = self._claims.get(slot, {}).get(incarnation)
        if claim is not None and claim.until_ns > now_ns:
            claim.until_ns, claim.effect_ns = now_ns, 0

    def held(self, slot: str, now_ns: int) -> bool:
        """Whether some gate passes for the slot now."""
        return any(each.until_ns > now_ns for each in self._claims.get(slot, {}).values())

    def healed(self, slot: str, now_ns: int) -> None:
        """All faults ended long enough ago: the slot must be held."""
        if not self.held(slot, now_ns):
            self._violated(now_ns, "liveness", f"{slot} has no holder although all is healed")

    def _violated(self, now_ns: int, rule: str, text: str) -> None:
        self.violations.append(Violation(self._seed, now_ns, rule, text))
