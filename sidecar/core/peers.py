"""The arbiters beside this one, as their canaries tell: who leads, how far each has read, and what it folded.

Owns a bounded table for people (`sidecar status`). It must not decide anything: canaries may be late or lost.
"""

from collections import deque
from dataclasses import dataclass

from sidecar.core.leadership import Standing
from sidecar.core.outputs import Now
from sidecar.core.sanity import clip
from sidecar.core.timing import MS
from sidecar.messages.arbiters import ArbiterStatus
from sidecar.messages.detection import Canary

PEERS_MAX = 16
"""Arbiters that are shown."""
FORGOTTEN_NS = 60_000 * MS
"""An arbiter that was not heard for so long is not shown any more."""
SAMPLES_MAX = 512
"""Offsets whose time is remembered, one a tick; a lag of more than these is told as that of the oldest."""

LEADING = Standing.LEADING.value


@dataclass(frozen=True, slots=True)
class _Peer:
    canary: Canary
    heard_ns: int
    behind: int
    lag_ns: int


class Peers:
    """All arbiters that are heard, this one too. `groups` is the digest of the groups that it is configured with."""

    def __init__(self, groups: str = "") -> None:
        self.groups = groups
        self._peers: dict[str, _Peer] = {}
        self._read: deque[tuple[int, int]] = deque(maxlen=SAMPLES_MAX)

    def tick(self, offset: int, now: Now) -> None:
        """Note how far this arbiter has read by now."""
        if not self._read or self._read[-1][0] != offset:
            self._read.append((offset, now.boot_ns))

    def hear(self, canary: Canary, offset: int, now: Now) -> None:
        """A canary came by, while this arbiter has read up to `offset`."""
        behind = max(0, offset - canary.offset) if canary.standing != LEADING else 0  # Its own, sent a moment ago.
        since_ns = now.boot_ns
        for read, at_ns in reversed(self._read if behind else ()):  # Mostly the last.
            if read <= canary.offset:
                break
            since_ns = at_ns
        lag_ns = now.boot_ns - since_ns
        self._peers[canary.arbiter] = _Peer(canary, now.boot_ns, behind, lag_ns)
        if len(self._peers) > PEERS_MAX:
            del self._peers[min(self._peers, key=lambda each: self._peers[each].heard_ns)]

    def status(self, now: Now) -> tuple[ArbiterStatus, ...]:
        """For people, by name."""
        return tuple(
            ArbiterStatus(
                arbiter=name,
                standing=each.canary.standing,
                term=each.canary.term,
                offset=each.canary.offset,
                behind=each.behind,
                lag_ns=each.lag_ns,
                silent_ns=now.boot_ns - each.heard_ns,
                digest=each.canary.digest,
                digest_offset=each.canary.digest_offset,
                warning=clip("; ".join(filter(None, (each.canary.warning, self._otherwise(each))))),
            )
            for name, each in sorted(self._peers.items())
            if now.boot_ns - each.heard_ns < FORGOTTEN_NS
        )

    def otherwise(self, now: Now) -> tuple[str, ...]:
        """The arbiters that are configured with other groups than this one."""
        heard = (
            (name, each) for name, each in sorted(self._peers.items()) if now.boot_ns - each.heard_ns < FORGOTTEN_NS
        )
        return tuple(name for name, each in heard if self._otherwise(each))

    def _otherwise(self, peer: _Peer) -> str:
        """Versions before this say nothing of their groups."""
        same = peer.canary.groups in ("", self.groups)
        return "" if same else "it is configured with other groups than the leader: compare the configurations"
