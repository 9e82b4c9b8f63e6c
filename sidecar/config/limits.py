"""Limits on orders as the configuration file has them, by scope.

Owns their shape and what each means. The core keeps them as `messages/limits.py` has them, by the same names.
"""

from decimal import Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from sidecar.config.section import Section
from sidecar.core.ladder import scope_problem
from sidecar.core.limit_desk import SCOPES_MAX as LIMITED_MAX
from sidecar.core.sanity import bounded
from sidecar.messages.limits import LimitSet

SCOPES_MAX: Final = LIMITED_MAX
"""As many scopes as the journal takes."""


def _scope(scope: str) -> str:
    problem = scope_problem(scope)
    if problem:
        raise ValueError(problem)
    return scope


def _amount(amount: Decimal) -> Decimal:
    if not bounded(amount) or amount < 0:
        raise ValueError("it must be a number of zero or more, of a size that prices and quantities have")
    return amount


def _price(price: Decimal) -> Decimal:
    if not bounded(price) or price <= 0:
        raise ValueError("it must be a number above zero, of a size that prices have")
    return price


Scope = Annotated[str, AfterValidator(_scope)]
Amount = Annotated[Decimal, AfterValidator(_amount)]
Price = Annotated[Decimal, AfterValidator(_price)]


class LimitValues(Section):
    """One set of limits. What is not set is not limited. Amounts of money are in the symbols' own currencies."""

    qty_max: Amount | None = Field(None, description="The largest quantity of one order. Higher passes larger slips.")
    notional_max: Amount | None = Field(
        None, description="The most money in one order: quantity times price. Higher passes larger slips."
    )
    collar_percent: Amount | None = Field(
        None, description="How far a price may be from that of the symbol's last fill. Higher passes worse prices."
    )
    reference_price: Price | None = Field(
        None, description="The price that counts until the symbol's first fill; of use in a scope symbol:NAME."
    )
    position_max: Amount | None = Field(
        None,
        description="The largest position of one account in one symbol, either way, were all its open orders of a side "
        "filled. Higher risks more.",
    )
    exposure_max: Amount | None = Field(
        None, description="The same in money over all symbols of one account at one venue. Higher risks more."
    )
    open_orders_max: int | None = Field(
        None, ge=0, le=1_000_000_000, description="Open orders in this scope. Higher leaves more to cancel in a halt."
    )
    orders_per_second_max: int | None = Field(
        None, ge=0, le=1_000_000_000, description="Orders granted in this scope within a second. Higher spends faster."
    )
    loss_per_day_max: Amount | None = Field(
        None, description="Realised loss of this scope in a UTC day from which on it may only reduce positions."
    )
    duplicate_window_ms: int | None = Field(
        None,
        ge=0,
        le=1_000_000_000,
        description="The same order of the same component is denied within this time. Higher finds slower loops and "
        "denies more that was meant.",
    )
    no_self_trade: bool = Field(False, description="Deny what could trade with an open order of ours at that venue.")
    halt_on_external: bool = Field(
        False, description="Halt this scope when an order turns up in it that was never granted."
    )
    halt_on_break: bool = Field(False, description="Halt this scope when any other break is opened in it.")

    def values(self) -> LimitSet:
        """The same as the core has them."""
        return LimitSet(**{name: getattr(self, name) for name in LimitValues.model_fields})


class LimitSettings(LimitValues):
    """The limits of one scope, and which of them are tighter while any group is degraded."""

    degraded: LimitValues = Field(default_factory=lambda: LimitValues())

    def to_core(self) -> tuple[LimitSet, LimitSet]:
        """Both sets as the core has them."""
        return self.values(), self.degraded.values()
