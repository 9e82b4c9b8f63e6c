"""Limits on orders: what they are, operators' requests about them, and what is in force.

The fields of `LimitSet` are those of the configuration's `limits."SCOPE"`, by the same names, units and defaults; what
they mean stands in docs/limits.md, and a test holds the two together.
"""

from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from sidecar.messages.base import Message


class LimitSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The limits of one scope. None, or false, is no limit. Amounts are in the symbols' own currencies."""

    qty_max: Decimal | None = None
    notional_max: Decimal | None = None
    collar_percent: Decimal | None = None
    reference_price: Decimal | None = None
    position_max: Decimal | None = None
    exposure_max: Decimal | None = None
    open_orders_max: int | None = None
    orders_per_second_max: int | None = None
    loss_per_day_max: Decimal | None = None
    duplicate_window_ms: int | None = None
    no_self_trade: bool = False
    halt_on_external: bool = False
    halt_on_break: bool = False


LimitSource = Literal["configuration", "operator"]


class LimitsRequest(Message, frozen=True, kw_only=True, tag="limits-request.v1"):
    """An operator sets the limits of one scope in full; None gives the scope back to the configuration.

    Of `degraded`, what is set replaces the limit of that name while any group is degraded. With `dry_run` the answer
    (code DRY_RUN) says what would happen, and nothing does.
    """

    SENDER: ClassVar[str] = "actor"
    request_id: str
    scope: str
    limits: LimitSet | None
    actor: str
    reason: str
    degraded: LimitSet = LimitSet()
    dry_run: bool = False


class LimitsChanged(Message, frozen=True, kw_only=True, tag="limits-changed.v1"):
    """An event: a scope has other limits now, as journaled; None is none."""

    SENDER: ClassVar[str] = "arbiter"
    arbiter: str
    scope: str
    limits: LimitSet | None
    degraded: LimitSet
    source: LimitSource
    actor: str
    reason: str


class LimitsQuery(Message, frozen=True, kw_only=True, tag="limits-query.v1"):
    """Anyone asks the leader for a `LimitsReport`."""

    SENDER: ClassVar[str] = "actor"
    request_id: str
    actor: str


class LimitsInForce(msgspec.Struct, frozen=True, kw_only=True):
    """One scope's limits, who set them and when, and where figures stand that belong to a scope and not to one order.

    `set_ns` is the deciding arbiter's CLOCK_REALTIME, 0 where it is not known. `position` is the largest that a
    position in the scope could become if its open orders of one side were filled, `exposure` that of an account in
    money; they are None where the scope has no such limit, or positions have none like it (components, strategies).
    """

    scope: str
    limits: LimitSet
    degraded: LimitSet
    source: LimitSource
    actor: str
    reason: str
    open_orders: int = 0
    orders_per_second: Decimal = Decimal(0)
    result_today: Decimal = Decimal(0)
    set_ns: int = 0
    position: Decimal | None = None
    position_of: str = ""
    exposure: Decimal | None = None
    exposure_of: str = ""


class PositionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A position: what was held `before` the first fill here, and the fills of the journal.

    `cost` and `realised` are of the fills alone; `price` is that of the symbol's last fill.
    """

    venue: str
    account: str
    symbol: str
    qty: Decimal
    cost: Decimal
    realised: Decimal
    price: Decimal | None = None
    before: Decimal = Decimal(0)


class LimitsReport(Message, frozen=True, kw_only=True, tag="limits-report.v1"):
    """All limits in force and the open positions, at most `POSITIONS_MAX` of them; `positions_count` is of all.

    `tightened` says that the sets for a degraded system apply now.
    """

    SENDER: ClassVar[str] = "arbiter"
    BYTES_MAX: ClassVar[int] = 4 * 1024 * 1024
    POSITIONS_MAX: ClassVar[int] = 2_000
    arbiter: str
    request_id: str
    limits: tuple[LimitsInForce, ...]
    positions: tuple[PositionStatus, ...]
    positions_count: int
    tightened: bool = False
