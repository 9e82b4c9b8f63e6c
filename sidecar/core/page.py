"""The gate page as a value: what the sidecar says about acting, right now.

Owns the meaning of the page; `gate/` owns its bytes. A page allows nothing once its deadline has passed on the
reader's own CLOCK_BOOTTIME, so a sidecar that stops answering closes it by doing nothing.
"""

import msgspec

from sidecar.messages.base import Token
from sidecar.messages.control import TradingState
from sidecar.messages.health import Role


class Page(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One state of the gate.

    `deadline_ns` is CLOCK_BOOTTIME, 0 for closed. `token` is the highest held. `reducing_allowed` is whether
    risk-reducing orders pass at this trading state. `scoped` are halts that concern only some orders, as
    (scope, level), for example ("symbol:XYZ", HALTED); more than the page's table holds is written as HALTED for all.
    """

    role: Role = "STANDBY"
    trading_state: TradingState = TradingState.HALTED
    reducing_allowed: bool = False
    deadline_ns: int = 0
    token: Token | None = None
    incarnation: str = ""
    control_version: int = 0
    scoped: tuple[tuple[str, TradingState], ...] = ()


CLOSED = Page()
"""What a page says before anybody has written to it."""
