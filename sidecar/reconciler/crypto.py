"""Every venue that the library ccxt speaks to: its unified answers as execution reports.

Owns the translation and the judgement of errors: only ccxt's OrderNotFound, on a question about one order, is the
venue's word that it knows none; whatever else goes wrong is no answer. It must not know what follows from a report.

ccxt is an optional part: `pip install 'trading-sidecar[ccxt]'`. It is loaded when the first such venue is made. Source:
the ccxt manual, order, trade, balance and position structures. Numbers are asked for as text: nothing is rounded.
"""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.core.bounded import drop_oldest
from sidecar.messages.orders import ExecutionReport, OrdStatus
from sidecar.messages.reconcile import Market
from sidecar.reconciler.adapter import REPORTS_MAX, Holding, NoAnswer, Offer, Wanted

MODULE: Final = "ccxt.async_support"
UNREADABLE: Final = (LookupError, AttributeError, TypeError, ValueError, ArithmeticError, AssertionError)
"""What an answer of another form than expected raises where it is read, ccxt's own code included."""
PAGE_MIN: Final = 20
"""A page with fewer trades is the last one: no exchange gives fewer when it has more. Lower costs requests."""
PAGES_MAX: Final = 50
"""Pages of trades of one symbol in one check."""
MARKETS_MAX: Final = 500
"""Symbols whose currencies are told with balances: those of the settings, and those of the orders seen last."""
STATUSES: Final[Mapping[str, OrdStatus]] = {
    "open": "NEW",
    "closed": "FILLED",
    "canceled": "CANCELED",
    "canceling": "PENDING_CANCEL",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}
_HAS: Final[Mapping[str, Offer]] = {
    "fetchOrder": "query",
    "fetchOpenOrders": "open_orders",
    "fetchMyTrades": "fills",
    "fetchPositions": "positions",
    "fetchBalance": "balances",
    "cancelAllOrdersAfter": "timer",
}


class CcxtMissing(Exception):
    """The library is not installed, or has no such exchange; the text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CcxtOptions:
    """One account at one exchange. `symbols` are in ccxt's unified form; `url` replaces scheme and host of its API.

    `market` is ccxt's defaultType; a spot account has balances and no positions.

    `finds_by_client_id` says that this exchange answers a question by clientOrderId with authority; without it a
    not-found proves nothing, since some exchanges ignore what they do not know.
    """

    venue: str
    account: str
    exchange: str
    timeout_s: float
    requests_per_s: float
    symbols: tuple[str, ...] = ()
    market: str = "spot"
    finds_by_client_id: bool = False
    url: str = ""
    api_key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    options: Mapping[str, Any] | None = None


class CcxtVenue:
    """One account at an exchange of ccxt's. Raises CcxtMissing when it is made without the library."""

    def __init__(self, options: CcxtOptions) -> None:
        self.account = options.account
        self._options = options
        self._ccxt = _library(options.exchange)
        self._exchange = _exchange(self._ccxt, options)
        self._orders: dict[str, Decimal] = {}
        self._traded: dict[str, None] = dict.fromkeys(options.symbols[:MARKETS_MAX])

    @property
    def offers(self) -> frozenset[Offer]:
        """What this exchange has by ccxt's own table; emulated answers are not authoritative and count as none."""
        found = {offer for name, offer in _HAS.items() if self._exchange.has.get(name) is True}
        return frozenset(found - {"positions"} if self._options.market == "spot" else found)

    async def query(self, wanted: Wanted) -> tuple[ExecutionReport, ...] | None:
        """See `VenueAdapter`."""
        by_client_id = self._options.finds_by_client_id
        if not (by_client_id or wanted.order_id):
            raise NoAnswer("this exchange is not asked by ClOrdID, and the OrderID is not known (finds_by_client_id)")
        params = {"clientOrderId": wanted.cl_ord_id} if by_client_id else {}
        with _reading():
            try:
                order = await self._ask("fetch_order", wanted.order_id or None, wanted.symbol or None, params)
            except _NotFoundError as error:
                if by_client_id:
                    return None
                raise NoAnswer(f"OrderID {wanted.order_id} was not found, which proves nothing: {error}") from error
            found = str(order.get("clientOrderId") or wanted.cl_ord_id)
            if found != wanted.cl_ord_id:
                raise NoAnswer(f"asked for {wanted.cl_ord_id}, answered for {found}")
            return tuple(await self._story(order, wanted.cl_ord_id))

    async def open_orders(self) -> Sequence[ExecutionReport]:
        """See `VenueAdapter`."""
        with _reading():
            found = [order for symbol in self._symbols() for order in await self._ask("fetch_open_orders", symbol)]
            return [self._status(each) for each in found[:REPORTS_MAX]]

    async def fills(self, since_ms: int) -> Sequence[ExecutionReport]:
        """See `VenueAdapter`: each order that traded since then is asked for, so that its ClOrdID is known."""
        with _reading():
            return await self._fills(since_ms)

    async def _fills(self, since_ms: int) -> list[ExecutionReport]:
        traded: dict[str, tuple[str, Decimal]] = {}
        for symbol in self._symbols():
            for trade in await self._my_trades(symbol, since_ms):
                if not trade.get("order"):
                    raise NoAnswer(f"the venue told of a trade {trade.get('id')} and not of which order")
                known = traded.get(str(trade["order"]), ("", Decimal(0)))
                traded[str(trade["order"])] = (str(trade["symbol"]), known[1] + _number(trade.get("amount"), "amount"))
        reports: list[ExecutionReport] = []
        for order_id, (symbol, amount) in traded.items():
            if self._orders.get(order_id) == amount or len(reports) >= REPORTS_MAX:
                continue  # All of it was handed over already, or the next check goes on.
            try:
                order = await self._ask("fetch_order", order_id, symbol)
            except _NotFoundError:
                raise NoAnswer(f"the venue told of a trade of order {order_id} and does not know that order") from None
            reports += await self._story(order, "")
            self._orders[order_id] = amount
        while len(self._orders) > 10 * REPORTS_MAX:
            del self._orders[next(iter(self._orders))]
        return reports

    async def _my_trades(self, symbol: str | None, since_ms: int) -> list[Mapping[str, Any]]:
        """All trades since then, page by page, each once; exchanges give at most so many with one answer."""
        found: dict[str, Mapping[str, Any]] = {}
        for _ in range(PAGES_MAX):
            page = await self._ask("fetch_my_trades", symbol, since_ms)
            fresh = [each for each in page if str(each["id"]) not in found]
            found |= {str(each["id"]): each for each in fresh}
            if not fresh or len(page) < PAGE_MIN:
                return list(found.values())
            since_ms = max(since_ms, *(int(each.get("timestamp") or 0) for each in fresh))
        raise NoAnswer(f"more than {PAGES_MAX} pages of trades since then: lower look_back_s, or name fewer symbols")

    async def positions(self) -> Sequence[Holding]:
        """See `VenueAdapter`."""
        found = []
        with _reading():
            for each in await self._ask("fetch_positions"):
                qty = _number(each.get("contracts") or 0, "contracts")
                found.append(Holding(str(each["symbol"]), -qty if each.get("side") == "short" else qty))
        return found

    async def balances(self) -> Sequence[Holding]:
        """See `VenueAdapter`."""
        with _reading():
            totals = (await self._ask("fetch_balance")).get("total") or {}
            told = [(asset, total) for asset, total in sorted(totals.items()) if total is not None]
            return [Holding(asset, _number(total, asset)) for asset, total in told]

    def markets(self) -> Sequence[Market]:
        """See `VenueAdapter`: of spot markets alone, for only there a fill moves price times quantity."""
        known = self._exchange.markets or {}
        spot = [known[each] for each in self._traded if each in known and known[each].get("spot")]
        return [Market(str(each["symbol"]), str(each["quote"]), str(each["base"])) for each in spot]

    async def arm_timer(self, after_ms: int) -> None:
        """See `VenueAdapter`."""
        await self._ask("cancel_all_orders_after", after_ms)

    def forget(self) -> None:
        """See `VenueAdapter`."""
        self._orders.clear()

    async def close(self) -> None:
        """Close its session."""
        await self._exchange.close(clean_instance_data=True)  # Without that its HTTP session would stay open.

    # --- inside ---

    async def _ask(self, name: str, *args: Any) -> Any:
        """One call of ccxt's. Raises NoAnswer, or _NotFoundError where the venue says that it knows no such order."""
        call: Callable[..., Awaitable[Any]] = getattr(self._exchange, name)
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await call(*args)
        except self._ccxt.OrderNotFound as error:
            raise _NotFoundError(_short(error)) from error
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {self._options.timeout_s:g} s") from error
        except (self._ccxt.BaseError, OSError) as error:
            raise NoAnswer(_short(error)) from error
        except UNREADABLE as error:
            raise NoAnswer(f"ccxt could not read the answer: {_short(error)}") from error

    def _symbols(self) -> Iterable[str | None]:
        return self._options.symbols or (None,)

    async def _story(self, order: Mapping[str, Any], cl_ord_id: str) -> list[ExecutionReport]:
        """The order's trades as executions, and its status."""
        status = self._status(order, cl_ord_id)
        trades = await self._trades(order) if status.cum_qty else []
        told, cum = [], Decimal(0)
        for trade in trades:
            amount, price = _number(trade.get("amount"), "amount"), _number(trade.get("price"), "price")
            cum += amount
            told.append(
                _with(
                    status,
                    exec_id=str(trade["id"]),
                    exec_type="TRADE",
                    ord_status="FILLED" if cum >= status.order_qty else "PARTIALLY_FILLED",
                    cum_qty=cum,
                    leaves_qty=max(status.order_qty - cum, Decimal(0)),
                    last_qty=amount,
                    last_px=price,
                )
            )
        return [*told, status]

    async def _trades(self, order: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = list(order.get("trades") or [])
        if not found and self._exchange.has.get("fetchOrderTrades") is True:
            found = list(await self._ask("fetch_order_trades", str(order["id"]), order.get("symbol")))
        return sorted(found, key=lambda each: (each.get("timestamp") or 0, str(each.get("id"))))

    def _status(self, order: Mapping[str, Any], cl_ord_id: str = "") -> ExecutionReport:
        try:
            cum = _number(order.get("filled") or 0, "filled")
            qty = _number(order.get("amount") or cum, "amount")
            status = STATUSES[str(order["status"])]
            side = {"buy": "BUY", "sell": "SELL"}[str(order["side"])]
            order_id, symbol = str(order["id"]), str(order["symbol"])
            self._traded[symbol] = None
            drop_oldest(self._traded, MARKETS_MAX)
        except KeyError as error:
            raise NoAnswer(f"ccxt's order says nothing that we understand of {error}") from error
        if status == "NEW" and cum:
            status = "PARTIALLY_FILLED"
        open_qty = max(qty - cum, Decimal(0)) if status in ("NEW", "PARTIALLY_FILLED", "PENDING_CANCEL") else Decimal(0)
        return ExecutionReport(
            venue=self._options.venue,
            account=self.account,
            cl_ord_id=str(order.get("clientOrderId") or cl_ord_id),
            order_id=order_id,
            exec_id=f"status.{order_id}.{status}.{cum}",
            exec_type="ORDER_STATUS",
            ord_status=status,
            symbol=symbol,
            side="BUY" if side == "BUY" else "SELL",
            order_qty=qty,
            cum_qty=cum,
            leaves_qty=open_qty,
            avg_px=_number(order.get("average") or 0, "average"),
        )


@contextmanager
def _reading() -> Iterator[None]:
    """What an exchange answers in another form than the manual says is no answer."""
    try:
        yield
    except UNREADABLE as error:
        raise NoAnswer(f"ccxt's answer is not as its manual says: {_short(error)}") from error


class _NotFoundError(Exception):
    """The venue knows no such order."""


def _library(exchange: str) -> Any:
    try:
        library = importlib.import_module(MODULE)
    except ImportError as error:
        raise CcxtMissing(f"ccxt cannot be loaded ({error}): pip install 'trading-sidecar[ccxt]'") from error
    if exchange not in library.exchanges:
        raise CcxtMissing(f"ccxt {library.__version__} has no exchange {exchange!r}; its names are lower case: kraken")
    return library


def _exchange(library: Any, options: CcxtOptions) -> Any:
    more = {"defaultType": options.market, **(options.options or {})}
    exchange = getattr(library, options.exchange)(
        {
            "apiKey": options.api_key,
            "secret": options.secret,
            "password": options.password,
            "timeout": int(options.timeout_s * 1000),
            "enableRateLimit": True,
            "rateLimit": 1000 / options.requests_per_s,
            "options": {"warnOnFetchOpenOrdersWithoutSymbol": False, **more},
        }
    )
    exchange.number = str
    exchange.aiohttp_trust_env = False
    if options.url.startswith("http://"):
        exchange.timeout_on_exit = 0  # It waits so long for TLS to be shut down.
    if options.url:
        exchange.urls["api"] = _moved(exchange.urls["api"], options.url)
    return exchange


def _moved(urls: Any, to: str) -> Any:
    """The same paths on another host."""
    if isinstance(urls, dict):
        return {name: _moved(each, to) for name, each in urls.items()}
    return to.rstrip("/") + urlsplit(urls).path if isinstance(urls, str) else urls


def _with(report: ExecutionReport, **changes: Any) -> ExecutionReport:
    values = {name: getattr(report, name) for name in report.__struct_fields__}
    return ExecutionReport(**{**values, **changes})


def _number(value: Any, what: str) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise NoAnswer(f"ccxt's {what} is no number: {value!r}") from error


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:300]
