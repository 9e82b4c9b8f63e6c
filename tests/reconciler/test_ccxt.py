"""The real ccxt against a local server that answers as Binance and Kraken document it."""

import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from ccxt_server import ORDER, TRADE, Exchange, serving

from sidecar.messages.reconcile import Market
from sidecar.reconciler.adapter import Holding, NoAnswer, Wanted
from sidecar.reconciler.crypto import MODULE, PAGES_MAX, CcxtMissing, CcxtOptions, CcxtVenue

SYMBOL = "BTC/USDT"
WANTED = Wanted("exec-a-17", SYMBOL)
BINANCE = CcxtOptions(
    venue="BINANCE",
    account="ACC",
    exchange="binance",
    timeout_s=10,
    requests_per_s=1000,
    symbols=(SYMBOL,),
    finds_by_client_id=True,
    api_key="key",
    secret="c2VjcmV0",
    options={"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False},
)


@asynccontextmanager
async def venue(exchange: Exchange, options: CcxtOptions = BINANCE) -> AsyncIterator[CcxtVenue]:
    """The adapter of a running exchange."""
    async with serving(exchange) as url:
        adapter = CcxtVenue(replace(options, url=url))
        try:
            yield adapter
        finally:
            await adapter.close()


async def test_an_order_is_found_with_its_executions() -> None:
    """A targeted question by ClOrdID gives each trade as an execution and the status last, exact to the last digit."""
    exchange = Exchange()
    async with venue(exchange) as adapter:
        found = await adapter.query(WANTED)
    assert found is not None
    trade, status = found
    assert (trade.exec_type, trade.exec_id, trade.ord_status) == ("TRADE", "28457", "PARTIALLY_FILLED")
    assert (trade.last_qty, trade.last_px, trade.cum_qty) == (
        Decimal("0.10000001"),
        Decimal("30000.10"),
        trade.last_qty,
    )
    assert (status.exec_type, status.cl_ord_id, status.order_id) == ("ORDER_STATUS", "exec-a-17", "28")
    assert (status.order_qty, status.leaves_qty) == (Decimal("0.30000000"), Decimal("0.19999999"))
    assert (status.venue, status.account, status.symbol, status.side) == ("BINANCE", "ACC", SYMBOL, "BUY")
    assert exchange.asked[0] == ("/api/v3/order", {**exchange.asked[0][1], "origClientOrderId": "exec-a-17"})


async def test_only_the_venues_own_word_is_an_absence() -> None:
    """Binance's -2013 means that it knows no such order; its ambiguous and failing answers mean nothing."""
    exchange = Exchange()
    async with venue(exchange) as adapter:
        assert await adapter.query(Wanted("exec-a-18", SYMBOL)) is None
        for fault in ((503, -1007, "Timeout waiting for response from backend server."), (418, -1003, "Way too many")):
            exchange.faults.append(fault)
            with pytest.raises(NoAnswer):
                await adapter.query(Wanted("exec-a-18", SYMBOL))


async def test_without_authority_a_not_found_is_no_answer() -> None:
    """An exchange that was not declared to find orders by ClOrdID proves no absence, by either id."""
    async with venue(Exchange(), replace(BINANCE, finds_by_client_id=False)) as adapter:
        with pytest.raises(NoAnswer, match="finds_by_client_id"):
            await adapter.query(WANTED)
        with pytest.raises(NoAnswer, match="proves nothing"):
            await adapter.query(Wanted("exec-a-17", SYMBOL, "29"))
        assert await adapter.query(Wanted("exec-a-17", SYMBOL, "28"))


async def test_another_orders_answer_is_no_answer() -> None:
    """What is said of another ClOrdID is not taken for this one's."""
    exchange = Exchange()
    exchange.orders["exec-a-19"] = ORDER
    async with venue(exchange) as adapter:
        with pytest.raises(NoAnswer, match="answered for exec-a-17"):
            await adapter.query(Wanted("exec-a-19", SYMBOL))


async def test_open_orders_fills_and_balances() -> None:
    """Open orders carry their ClOrdIDs, fills come with their whole orders and once only, balances in total."""
    exchange = Exchange()
    async with venue(exchange) as adapter:
        assert adapter.offers == {"query", "open_orders", "fills", "balances"}
        assert [(each.cl_ord_id, each.ord_status) for each in await adapter.open_orders()] == [
            ("exec-a-17", "PARTIALLY_FILLED")
        ]
        first = await adapter.fills(0)
        assert [(each.exec_type, each.cl_ord_id) for each in first] == [
            ("TRADE", "exec-a-17"),
            ("ORDER_STATUS", "exec-a-17"),
        ]
        assert await adapter.fills(0) == []
        exchange.orders["exec-a-17"] = {**ORDER, "executedQty": "0.30000000", "status": "FILLED"}
        exchange.trades.append({**TRADE, "id": 28458, "qty": "0.19999999"})
        assert [each.ord_status for each in await adapter.fills(0)] == ["PARTIALLY_FILLED", "FILLED", "FILLED"]
        assert await adapter.balances() == [Holding("BTC", Decimal("1.30000001"))]
        assert adapter.markets() == [Market(SYMBOL, "USDT", "BTC")]
        with pytest.raises(NoAnswer):
            await adapter.arm_timer(1_000)


async def test_all_pages_of_trades_are_asked_for() -> None:
    """Fills beyond the first page of the look-back are handed over too, and of too many pages nothing is concluded."""
    exchange = Exchange()
    exchange.page = 20
    exchange.trades = [{**TRADE, "id": n, "orderId": n // 25, "time": 1_000 + n} for n in range(50)]
    exchange.orders = {f"o-{n}": {**ORDER, "orderId": n, "clientOrderId": f"o-{n}"} for n in range(2)}
    async with venue(exchange) as adapter:
        found = await adapter.fills(500)
        assert [each.cl_ord_id for each in found if each.exec_type == "TRADE"] == ["o-0"] * 25 + ["o-1"] * 25
        exchange.trades = [{**TRADE, "id": n, "time": 1_000 + n} for n in range(20 * PAGES_MAX)]
        with pytest.raises(NoAnswer, match="pages of trades"):
            await adapter.fills(500)


@pytest.mark.parametrize("harm", [{"side": None}, {"orderId": None}, {"symbol": None}, {"executedQty": "some"}])
async def test_an_answer_of_another_form_is_no_answer(harm: dict[str, object]) -> None:
    """What cannot be read as the exchange's manual says is no answer, and never an error of ours."""
    exchange = Exchange()
    exchange.orders = {"exec-a-17": {**ORDER, **harm}}
    exchange.trades = [{**TRADE, "orderId": None}]
    async with venue(exchange) as adapter:
        for ask in (adapter.query(WANTED), adapter.open_orders(), adapter.fills(0)):
            with contextlib.suppress(NoAnswer):
                await ask


async def test_what_ccxt_gives_in_another_form_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read as ccxt's own manual says is no answer, whichever question it answers."""
    async with venue(Exchange()) as adapter:

        async def other(*args: object) -> object:
            return [{}]

        for name in ("fetch_order", "fetch_open_orders", "fetch_my_trades", "fetch_positions", "fetch_balance"):
            monkeypatch.setattr(adapter._exchange, name, other)
        asks = (adapter.query(WANTED), adapter.open_orders(), adapter.fills(0), adapter.positions(), adapter.balances())
        for ask in asks:
            with pytest.raises(NoAnswer):
                await ask


async def test_krakens_timer_is_armed_and_disarmed() -> None:
    """Kraken's CancelAllOrdersAfter gets the time in seconds, and 0 to disarm."""
    exchange = Exchange()
    options = CcxtOptions(
        venue="KRAKEN", account="ACC", exchange="kraken", timeout_s=10, requests_per_s=1000, api_key="k", secret="c2Vj"
    )
    async with venue(exchange, options) as adapter:
        assert "timer" in adapter.offers
        await adapter.arm_timer(60_000)
        await adapter.arm_timer(0)
    assert [asked["timeout"] for path, asked in exchange.asked if path.endswith("After")] == ["60", "0"]


async def test_a_venue_that_is_gone_is_no_answer() -> None:
    """A refused connection is no answer."""
    adapter = CcxtVenue(replace(BINANCE, url="http://127.0.0.1:9"))
    try:
        with pytest.raises(NoAnswer):
            await adapter.query(WANTED)
    finally:
        await adapter.close()


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ccxt, or with an exchange that it does not know, the error names the mend."""
    with pytest.raises(CcxtMissing, match="no exchange 'nowhere'"):
        CcxtVenue(replace(BINANCE, exchange="nowhere"))
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(CcxtMissing, match=r"pip install 'trading-sidecar\[ccxt\]'"):
        CcxtVenue(BINANCE)
