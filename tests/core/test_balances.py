"""Balances against what fills have moved."""

from decimal import Decimal

import pytest

from sidecar.core.balances import AccountBalances, Gap
from sidecar.core.positions import NetPosition
from sidecar.messages.reconcile import Market

SETTLE_NS = 5
MARKET = Market("XYZ", "USD", "COIN")


def position(*trades: tuple[str, str], symbol: str = "XYZ") -> NetPosition:
    """What these trades (quantity and value, negative when sold) come to."""
    held = NetPosition("SIM", "ACC", symbol)
    for qty, value in trades:
        held = held.traded(Decimal(qty), Decimal(value))
    return held


class Account:
    """One account whose statements come twice, a settling time apart."""

    def __init__(self, tolerance: str | None = "0.5", markets: tuple[Market, ...] = (MARKET,)) -> None:
        self.balances = AccountBalances(SETTLE_NS, None if tolerance is None else Decimal(tolerance))
        self.markets = markets
        self.held: tuple[NetPosition, ...] = ()
        self.now_ns = 0

    def told(self, **theirs: str) -> list[Gap]:
        """The gaps after these balances."""
        found: list[Gap] = []
        for _ in range(2):
            figures = {name: Decimal(qty) for name, qty in theirs.items()}
            found += self.balances.stated(figures, self.held, self.markets, self.now_ns)
            self.now_ns += SETTLE_NS
        return found


def test_what_fills_moved_agrees() -> None:
    """A balance that moved by price times quantity, with fees within the tolerance, is no gap, on both sides."""
    account = Account()
    assert account.told(USD="1000") == []
    account.held = (position(("10", "500")),)
    assert account.told(USD="498", COIN="10") == []
    account.held = (position(("10", "500"), ("-10", "-600")),)
    assert account.told(USD="1095.5") == []


@pytest.mark.parametrize(
    ("usd", "coin", "gap"),
    [
        ("490", "10", Gap("USD", Decimal(500), Decimal(490))),
        ("500", "9", Gap("COIN", Decimal(10), Decimal(9))),
        ("510", "10", Gap("USD", Decimal(500), Decimal(510))),
    ],
)
def test_what_is_gone_together_with_a_fill_is_seen(usd: str, coin: str, gap: Gap) -> None:
    """More gone, or come, than the tolerance of what was turned over is a gap with both sides, told once."""
    account = Account()
    account.told(USD="1000")
    account.held = (position(("10", "500")),)
    assert account.told(USD=usd, COIN=coin) == [gap]
    assert account.told(USD=usd, COIN=coin) == []


def test_fees_do_not_add_up() -> None:
    """Once the account was quiet, what counts is the venue's word, and the tolerance is of the next trades alone."""
    account = Account()
    account.told(USD="1000")
    account.held = (position(("10", "500")),)
    assert account.told(USD="498", COIN="10") == []
    assert account.told(USD="497", COIN="10") == [Gap("USD", Decimal(498), Decimal(497))]


@pytest.mark.parametrize("behind", ["ours", "theirs"])
def test_a_fill_on_its_way_is_no_gap(behind: str) -> None:
    """A balance ahead of our fills, or behind them, for less than the settling time is no gap, however often."""
    account = Account()
    account.told(USD="100000")
    for n in range(1, 20):
        for ours, theirs in ((n, n - 1) if behind == "theirs" else (n - 1, n), (n, n)):
            held = (position(*[("1", "100")] * ours),) if ours else ()
            told = {"USD": Decimal(100_000 - 100 * theirs), "COIN": Decimal(theirs)}
            assert account.balances.stated(told, held, account.markets, account.now_ns) == []
            account.now_ns += SETTLE_NS - 1


@pytest.mark.parametrize(("tolerance", "markets"), [(None, (MARKET,)), ("0.5", ()), ("0.5", (Market("OTHER", "USD"),))])
def test_where_currencies_are_not_known_only_quiet_balances_are_compared(
    tolerance: str | None, markets: tuple[Market, ...]
) -> None:
    """Without a tolerance, or with a symbol of unknown currency, a balance that changes with a fill is believed."""
    account = Account(tolerance, markets)
    account.told(USD="1000")
    account.held = (position(("10", "500")),)
    assert account.told(USD="1", COIN="10") == []
    assert account.told(USD="2", COIN="10") == [Gap("USD", Decimal(1), Decimal(2))]


def test_currencies_that_no_fill_moves_are_not_held_to_fills() -> None:
    """Fees in a third currency are no gap while something trades; what is gone of it in quiet times is."""
    account = Account()
    account.told(USD="1000", FEE="9")
    account.held = (position(("10", "500")),)
    assert account.told(USD="500", COIN="10", FEE="8") == []
    assert account.told(USD="500", COIN="10", FEE="7") == [Gap("FEE", Decimal(8), Decimal(7))]


def test_a_position_that_was_forgotten_begins_anew() -> None:
    """Sums that lack what they had are no gap: all balances are taken as they are."""
    account = Account()
    account.held = (position(("10", "500"), ("-10", "-600")), position(("1", "5"), symbol="ABC"))
    account.markets = (MARKET, Market("ABC", "USD"))
    account.told(USD="1095")
    account.held = account.held[1:]
    assert account.told(USD="1095") == []


def test_currencies_that_become_known_begin_anew() -> None:
    """Nothing that was traded before the currencies were known is held against a balance."""
    account = Account(markets=())
    account.held = (position(("10", "500")),)
    account.told(USD="500", COIN="10")
    account.markets = (MARKET,)
    assert account.told(USD="500", COIN="10") == []
    account.held = (position(("10", "500"), ("10", "500")),)
    assert account.told(COIN="20") == []
