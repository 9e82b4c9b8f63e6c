"""The times that safety rests on, and the inequalities between them.

Owns the arithmetic of DESIGN section 6.2. All values are integer nanoseconds except `clock_error_ppm`, the bound on
the rate error of every host's CLOCK_BOOTTIME in parts per million.

With the holder's lease D, gate-to-effect time A, the leader's wait L and rate error r, a holder stops by true time
D/(1-r) + A after its heartbeat left, and the leader gives the slot away no sooner than L/(1+r) after it recorded
the grant, which is later than that heartbeat. So D/(1-r) + A <= L/(1+r) keeps the two apart.
"""

from dataclasses import dataclass
from fractions import Fraction

MS = 1_000_000
PPM = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All waits of the lease and leadership protocols, with the defaults of DESIGN section 6.2."""

    heartbeat_ns: int = 250 * MS
    holder_lease_ns: int = 1_500 * MS
    effect_ns: int = 300 * MS
    holder_wait_ns: int = 2_000 * MS
    leader_lease_ns: int = 1_000 * MS
    leader_wait_ns: int = 1_200 * MS
    tick_ns: int = 100 * MS
    probe_ns: int = 400 * MS
    clock_error_ppm: int = 10_000

    def holder_stops_by_ns(self) -> Fraction:
        """True time from a heartbeat's sending to the last possible effect under the lease it won."""
        return Fraction(self.holder_lease_ns * PPM, PPM - self.clock_error_ppm) + self.effect_ns

    def leader_moves_after_ns(self) -> Fraction:
        """The least true time in which the leader's clock shows L."""
        return Fraction(self.holder_wait_ns * PPM, PPM + self.clock_error_ppm)

    def leader_stops_by_ns(self) -> Fraction:
        """True time from a tick's sending to the leader's last possible grant under it."""
        return Fraction(self.leader_lease_ns * PPM, PPM - self.clock_error_ppm)

    def successor_waits_ns(self) -> Fraction:
        """The least true time in which a new leader's clock shows its wait for the old leader."""
        return Fraction(self.leader_wait_ns * PPM, PPM + self.clock_error_ppm)

    def takeover_wait_ns(self) -> int:
        """How long after its own TermStarted was read back a new leader leaves a silent holder's slot alone."""
        return self.leader_wait_ns + self.holder_wait_ns

    def effect_wait_ns(self) -> int:
        """The least that a leader's clock must show before an order whose gate closed at the start has taken effect."""
        return -(-self.effect_ns * (PPM + self.clock_error_ppm) // PPM)

    def violations(self) -> tuple[str, ...]:
        """Each broken inequality as a sentence with its numbers and the mend; empty when safe."""
        found = []
        if self.holder_stops_by_ns() > self.leader_moves_after_ns():
            found.append(
                f"holder_lease_ms {_ms(self.holder_lease_ns)} with clock_error_ppm {self.clock_error_ppm} and "
                f"gate_to_effect_ms {_ms(self.effect_ns)} lets a holder act for {_ms(self.holder_stops_by_ns())} ms, "
                f"but the slot may move after {_ms(self.leader_moves_after_ns())} ms (holder_wait_ms "
                f"{_ms(self.holder_wait_ns)}): raise holder_wait_ms to at least {self._least_holder_wait_ms()}"
            )
        if self.leader_stops_by_ns() > self.successor_waits_ns():
            found.append(
                f"leader_lease_ms {_ms(self.leader_lease_ns)} lets a leader grant for "
                f"{_ms(self.leader_stops_by_ns())} ms, but a successor waits only "
                f"{_ms(self.successor_waits_ns())} ms (leader_wait_ms {_ms(self.leader_wait_ns)}): raise leader_wait_ms"
            )
        if 3 * self.heartbeat_ns > self.holder_lease_ns:
            found.append(
                f"heartbeat_ms {_ms(self.heartbeat_ns)} leaves fewer than three heartbeats in holder_lease_ms "
                f"{_ms(self.holder_lease_ns)}: one lost message would close a gate; lower heartbeat_ms"
            )
        if 3 * self.tick_ns > min(self.leader_lease_ns, self.probe_ns):
            found.append(
                f"tick_ms {_ms(self.tick_ns)} leaves fewer than three ticks in leader_lease_ms "
                f"{_ms(self.leader_lease_ns)} or probe_ms {_ms(self.probe_ns)}: lower tick_ms"
            )
        return tuple(found)

    def _least_holder_wait_ms(self) -> int:
        least = self.holder_stops_by_ns() * (PPM + self.clock_error_ppm) / PPM
        return -(-least.numerator // (least.denominator * MS))


def _ms(value_ns: int | Fraction) -> str:
    return f"{float(value_ns) / MS:.6g}"
