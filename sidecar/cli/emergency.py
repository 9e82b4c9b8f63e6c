"""`sidecar kill`, `sidecar flatten`, `sidecar shutdown`: halts that also make components do something.

Owns which level and which measures each of them is. The gate closes first in any case; a measure that fails or is late
opens nothing and is asked for again. How a halt is raised and counted is in `halting.py`.

| command  | level    | measures, in this order        |
|----------|----------|--------------------------------|
| kill     | HALTED   | cancel                         |
| flatten  | REDUCING | flatten                        |
| shutdown | HALTED   | cancel, flatten, persist, stop |
"""

from sidecar.cli.halting import WantedHalt, raise_and_count
from sidecar.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    ReasonOption,
    ScopesOption,
    TimeoutOption,
    WaitOption,
    require_reason,
    require_scopes,
)
from sidecar.messages.control import TradingState
from sidecar.messages.measures import MEASURES, Measure


def kill(
    reason: ReasonOption,
    scope: ScopesOption = None,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 15.0,
    wait: WaitOption = True,
) -> None:
    """Close the gates of everything in scope, and make every component there cancel its open orders.

    Cancelling is asked for again until nothing remains, also after this command has ended. Exit codes: as of halt,
    and 9 the gates are closed, and not every cancel is complete: what remains is printed.
    """
    wanted = _wanted(TradingState.HALTED, ("cancel",), reason, scope, timeout_s, wait)
    raise_and_count(wanted, config=config, actor=actor, as_json=as_json)


def flatten(
    reason: ReasonOption,
    scope: ScopesOption = None,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 60.0,
    wait: WaitOption = True,
) -> None:
    """Let nothing new begin in scope, and make every component there close its positions.

    The level is REDUCING: orders that only reduce risk pass, or no position could be closed. Exit codes: as of halt,
    and 9 the gates are closed, and not every position is: what remains is printed.
    """
    wanted = _wanted(TradingState.REDUCING, ("flatten",), reason, scope, timeout_s, wait)
    raise_and_count(wanted, config=config, actor=actor, as_json=as_json)


def shutdown(
    reason: ReasonOption,
    scope: ScopesOption = None,
    actor: ActorOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 30.0,
    wait: WaitOption = True,
) -> None:
    """Emergency shutdown: close the gates, cancel, close positions, save state, end the components, in this order.

    Each step has its own time limit (measures.* of the sidecars), and a late one does not hold up the next. The
    sidecars live on with closed gates. Exit codes: as of halt, and 9 the gates are closed, and a step is not complete.
    """
    wanted = _wanted(TradingState.HALTED, MEASURES, reason, scope, timeout_s, wait)
    raise_and_count(wanted, config=config, actor=actor, as_json=as_json)


def _wanted(
    level: TradingState,
    measures: tuple[Measure, ...],
    reason: str,
    scope: list[str] | None,
    timeout_s: float,
    wait: bool,
) -> WantedHalt:
    return WantedHalt(
        scopes=require_scopes(scope),
        level=level,
        reason=require_reason(reason),
        measures=measures,
        timeout_s=timeout_s,
        wait=wait,
    )
