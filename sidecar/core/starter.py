"""The sidecar's side of a cold start: which order it obeys.

Owns that at most one start action runs at a time, none while a component is attached, and each order at most once. It
must not know what the action is, nor run it: `agent/starting.py` does, the simulator pretends to. The leader's side is
`core/cold.py`.

| state    | input                                                   | next     | what is to be done          |
|----------|---------------------------------------------------------|----------|-----------------------------|
| idle     | StartComponent for this run, above every earlier order  | starting | run the action              |
| idle     | the same, but a component is attached                   | idle     | nothing: heartbeats say it  |
| starting | a component attached                                    | running  | nothing                     |
| starting | the action failed, or took too long                     | idle     | StartFailed                 |
| running  | StartComponent for this run, above every earlier order  | running  | StartFailed: it still runs  |
| running  | the action's process ended                              | idle     | nothing                     |
| any      | any other StartComponent                                | same     | nothing                     |

A sidecar without an action refuses every order.
"""

from sidecar.messages.base import Token
from sidecar.messages.health import StartComponent, StartFailed


class Starter:
    """One sidecar's cold starts. `able` says that there is an action; `run` is the sidecar's own run."""

    def __init__(self, component: str, run: str, *, able: bool) -> None:
        self.order: Token | None = None
        self._component = component
        self._run = run
        self._able = able
        self._highest = Token(0, 0)
        self._running = False

    @property
    def startable(self) -> bool:
        """Whether an order would be obeyed now, if nothing is attached."""
        return self._able and self.order is None and not self._running

    def ordered(self, message: StartComponent, *, attached: bool) -> StartFailed | bool:
        """Whether the action is to be run now; or the refusal to be sent."""
        meant = message.component == self._component and message.run == self._run
        if not meant or attached or message.order <= self._highest:
            return False
        self._highest = message.order
        if not self._able:
            return self._failed(message.order, "its sidecar has no component.start")
        if not self.startable:
            return self._failed(message.order, "an earlier start action still runs")
        self.order = message.order
        return True

    def came_up(self, *, running: bool) -> None:
        """A component attached while a start was under way; `running` says that the action's process goes on."""
        self.order, self._running = None, running

    def failed(self, reason: str) -> StartFailed | None:
        """The start is over without a component; what to tell the leader."""
        order, self.order, self._running = self.order, None, False
        return None if order is None else self._failed(order, reason)

    def ended(self) -> None:
        """The process of an action whose component had come up has ended."""
        self._running = False

    def _failed(self, order: Token, reason: str) -> StartFailed:
        return StartFailed(component=self._component, run=self._run, order=order, reason=reason)
