"""Halts a strategy of our component that is in a state which nothing legal leads to.

Owns the halt and its way out. It must not decide what is legal: `core/strategies.py` does. The halt is latched here at
once, with or without a broker; unpublished, it travels with each heartbeat. Only an operator lifts it.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Mapping

import structlog

from sidecar.agent.clock import boottime_ns
from sidecar.agent.gatekeeper import Gatekeeper
from sidecar.agent.own_halts import OwnHalts, TooManyHalts
from sidecar.agent.postbox import Postbox
from sidecar.broker.interface import BrokerAway
from sidecar.broker.topology import COMMANDS, CONTROL
from sidecar.core.integrity import MARK
from sidecar.core.ladder import halt_problem
from sidecar.core.sanity import clip
from sidecar.core.strategies import IllegalStep, Strategies
from sidecar.messages.control import Halt, TradingState
from sidecar.messages.local import StrategyState


class StrategyDesk:
    """The strategies of one component; an earlier run's states say nothing of a later one's."""

    def __init__(self, gatekeeper: Gatekeeper, own_halts: OwnHalts, postbox: Postbox) -> None:
        self._gatekeeper = gatekeeper
        self._own_halts = own_halts
        self._postbox = postbox
        self._strategies = Strategies()
        self._incarnation = ""
        self._log = structlog.get_logger(__name__)

    @property
    def states(self) -> dict[str, StrategyState]:
        """Each strategy's state by name, as it was told last."""
        return dict(self._strategies.states)

    def notice(self, incarnation: str) -> None:
        """Which run of the component is attached now."""
        if incarnation != self._incarnation:
            self._strategies, self._incarnation = Strategies(), incarnation

    def told(self, states: Mapping[str, StrategyState]) -> None:
        """The component's word on its strategies."""
        steps = self._strategies.told(states)
        fresh = [each for each in steps if not self._is_halted(_scope(each))]
        if fresh:
            self._stop(fresh)

    def _stop(self, steps: list[IllegalStep]) -> None:
        component = self._gatekeeper.core.component
        reason = clip(MARK + "; ".join(each.text for each in steps))
        halt = _halt(component, tuple(map(_scope, steps)), reason)
        whole = f"component:{component}"
        if self._is_too_much(halt):
            if self._is_halted(whole):
                return
            halt = _halt(component, (whole,), reason)
        self._log.error("a strategy is in a state that nothing legal leads to", halt=halt.halt_id, why=reason)
        self._gatekeeper.do(self._gatekeeper.core.on_halt(halt, boottime_ns()))
        with contextlib.suppress(BrokerAway):
            for exchange, key in ((CONTROL, ""), (COMMANDS, "halt")):
                self._postbox.submit(exchange, key, halt, answered=False).add_done_callback(_forget)

    def _is_too_much(self, halt: Halt) -> bool:
        """Whether so many strategies are halted one by one that the whole component is."""
        try:
            self._own_halts.count(boottime_ns())
        except TooManyHalts:
            return True
        return bool(halt_problem(halt))

    def _is_halted(self, scope: str) -> bool:
        in_force = self._gatekeeper.core.memory.in_force
        return any(each.reason.startswith(MARK) and scope in each.scopes for each in in_force)


def _scope(step: IllegalStep) -> str:
    return f"strategy:{step.strategy}"


def _halt(component: str, scopes: tuple[str, ...], reason: str) -> Halt:
    return Halt(
        halt_id=f"integrity-{component}-{uuid.uuid4().hex[:12]}",
        scopes=scopes,
        level=TradingState.HALTED,
        reason=reason,
        actor=component,
        issued_ns=time.time_ns(),
    )


def _forget(sent: asyncio.Future[None]) -> None:
    """The broker's confirm, for which nobody waits: the halt is in every heartbeat until an arbiter has it."""
    if not sent.cancelled():
        sent.exception()
