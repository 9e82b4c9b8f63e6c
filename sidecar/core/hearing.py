"""Which holders are sent answers and hear none: their heartbeats arrive, but nothing reaches them.

Owns the leader's account of its own unanswered answers. A link that is cut in one direction leaves a holder that sends
heartbeats for ever and never hears a lease: its gate is closed, by itself, and as long as it were renewed nobody else
could take its slot. So every heartbeat carries the highest `seq` that was answered, and for each component:

| state     | input                                                       | next      |
|-----------|-------------------------------------------------------------|-----------|
| heard     | an answer to its heartbeat `seq` is sent                    | waiting   |
| waiting   | a heartbeat that names `seq` or later, or of another run    | heard     |
| waiting   | `patience` passes                                           | deaf      |
| deaf      | a heartbeat that names `seq` or later, or of another run    | heard     |

`patience` is the holder's lease, so that whoever is found deaf has a closed gate. A deaf holder is answered still, but
not renewed, so its slot moves L after its last renewal, as if it were silent.
"""

import msgspec

from sidecar.messages.health import Heartbeat


class _Waiting(msgspec.Struct, frozen=True, gc=False):
    """The first answer that was not heard yet: to which heartbeat of which run, and when it was sent."""

    run: str
    seq: int
    sent_ns: int


class Hearing:
    """One leadership's account of who hears it. Bounded by the components that are answered at all."""

    def __init__(self, patience_ns: int) -> None:
        self._patience_ns = patience_ns
        self._waiting: dict[str, _Waiting] = {}

    def begin_term(self) -> None:
        """What earlier leaders sent says nothing about this one."""
        self._waiting.clear()

    def hear(self, heartbeat: Heartbeat) -> None:
        """A heartbeat says which answers arrived; one of an older version says nothing, and is believed to hear."""
        waiting = self._waiting.get(heartbeat.component)
        if waiting is None:
            return
        answered = heartbeat.answered
        if answered is None or answered >= waiting.seq or heartbeat.run != waiting.run:
            del self._waiting[heartbeat.component]

    def answered(self, heartbeat: Heartbeat, now_ns: int) -> None:
        """An answer to this heartbeat is being sent."""
        if heartbeat.answered is not None and heartbeat.component not in self._waiting:
            self._waiting[heartbeat.component] = _Waiting(heartbeat.run, heartbeat.seq, now_ns)

    def deaf_ns(self, component: str, now_ns: int) -> int:
        """For how long a component has heard none of our answers; 0 unless that is too long."""
        waiting = self._waiting.get(component)
        if waiting is None or now_ns - waiting.sent_ns < self._patience_ns:
            return 0
        return now_ns - waiting.sent_ns
