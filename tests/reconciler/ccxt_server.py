"""A local HTTP server that answers as Binance and Kraken document it, for what the ccxt adapter asks.

Source: Binance Spot API documentation (General, Trading and Account endpoints) and Kraken REST documentation
(AssetPairs, Assets, CancelAllOrdersAfter), with values of our own.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "baseAssetPrecision": 8,
    "quoteAsset": "USDT",
    "quotePrecision": 8,
    "quoteAssetPrecision": 8,
    "orderTypes": ["LIMIT", "MARKET"],
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
    ],
    "permissions": ["SPOT"],
    "permissionSets": [["SPOT"]],
}
ORDER = {
    "symbol": "BTCUSDT",
    "orderId": 28,
    "orderListId": -1,
    "clientOrderId": "exec-a-17",
    "price": "30000.10",
    "origQty": "0.30000000",
    "executedQty": "0.10000001",
    "cummulativeQuoteQty": "3000.01",
    "status": "PARTIALLY_FILLED",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "side": "BUY",
    "stopPrice": "0.0",
    "icebergQty": "0.0",
    "time": 1499827319559,
    "updateTime": 1499827319559,
    "isWorking": True,
    "workingTime": 1499827319559,
    "origQuoteOrderQty": "0.000000",
    "selfTradePreventionMode": "NONE",
}
TRADE = {
    "symbol": "BTCUSDT",
    "id": 28457,
    "orderId": 28,
    "orderListId": -1,
    "price": "30000.10",
    "qty": "0.10000001",
    "quoteQty": "3000.01",
    "commission": "0.1",
    "commissionAsset": "USDT",
    "time": 1499865549590,
    "isBuyer": True,
    "isMaker": False,
    "isBestMatch": True,
}
KRAKEN_PAIR = {
    "altname": "XBTUSDT",
    "wsname": "XBT/USDT",
    "aclass_base": "currency",
    "base": "XXBT",
    "aclass_quote": "currency",
    "quote": "USDT",
    "lot": "unit",
    "pair_decimals": 1,
    "cost_decimals": 5,
    "lot_decimals": 8,
    "lot_multiplier": 1,
    "leverage_buy": [],
    "leverage_sell": [],
    "fees": [[0, 0.26]],
    "fees_maker": [[0, 0.16]],
    "fee_volume_currency": "ZUSD",
    "margin_call": 80,
    "margin_stop": 40,
    "ordermin": "0.0001",
    "costmin": "0.5",
    "tick_size": "0.1",
    "status": "online",
}


class Exchange:
    """What it answers, and what it was asked. A fault (status, code, text) answers the next private question.

    An answer has at most `page` trades, the oldest first.
    """

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {"exec-a-17": ORDER}
        self.trades: list[dict[str, Any]] = [TRADE]
        self.page = 500
        self.faults: deque[tuple[int, int, str]] = deque()
        self.asked: list[tuple[str, dict[str, str]]] = []

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application()
        app.router.add_get("/api/v3/exchangeInfo", self._public({"symbols": [SYMBOL], "timezone": "UTC"}))
        app.router.add_get("/api/v3/order", self._private(self._order))
        app.router.add_get("/api/v3/openOrders", self._private(lambda asked: list(self.orders.values())))
        app.router.add_get("/api/v3/myTrades", self._private(self._trades))
        app.router.add_get("/api/v3/account", self._private(self._account))
        app.router.add_get("/0/public/AssetPairs", self._public({"error": [], "result": {"XBTUSDT": KRAKEN_PAIR}}))
        assets = {"XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5}}
        app.router.add_get("/0/public/Assets", self._public({"error": [], "result": assets}))
        app.router.add_post("/0/private/CancelAllOrdersAfter", self._timer)
        return app

    def _public(self, answer: dict[str, Any]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            return web.json_response(answer)

        return handle

    def _private(self, answer: Any) -> Any:
        async def handle(request: web.Request) -> web.Response:
            asked = dict(request.query)
            self.asked.append((request.path, asked))
            if self.faults:
                status, code, text = self.faults.popleft()
                return web.json_response({"code": code, "msg": text}, status=status)
            found = answer(asked)
            if found is None:
                return web.json_response({"code": -2013, "msg": "Order does not exist."}, status=400)
            return web.json_response(found)

        return handle

    def _order(self, asked: dict[str, str]) -> dict[str, Any] | None:
        if "origClientOrderId" in asked:
            return self.orders.get(asked["origClientOrderId"])
        return next((each for each in self.orders.values() if str(each["orderId"]) == asked["orderId"]), None)

    def _trades(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        wanted, since_ms = asked.get("orderId"), int(asked.get("startTime", 0))
        found = [each for each in self.trades if wanted is None or str(each["orderId"]) == wanted]
        return [each for each in found if each["time"] >= since_ms][: self.page if wanted is None else None]

    def _account(self, asked: dict[str, str]) -> dict[str, Any]:
        balances = [{"asset": "BTC", "free": "1.10000001", "locked": "0.20"}]
        return {"makerCommission": 15, "canTrade": True, "accountType": "SPOT", "balances": balances}

    async def _timer(self, request: web.Request) -> web.Response:
        asked = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append((request.path, asked))
        times = {"currentTime": "2023-03-24T17:41:56Z", "triggerTime": "2023-03-24T17:42:56Z"}
        return web.json_response({"error": [], "result": times})


@asynccontextmanager
async def serving(exchange: Exchange) -> AsyncIterator[str]:
    """The URL of a running exchange."""
    runner = web.AppRunner(exchange.app())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        for _ in range(3):
            await asyncio.sleep(0)  # The closed connections let go of their sockets in the loop's next rounds.
