"""A venue's statements as CSV files: for venues that send files, and for whoever wants to compare by hand.

Owns the files' form. It must not guess: a row that cannot be read makes the whole file no answer, naming file, line and
column. A statement proves what it says and never that something is not there, so nothing is ever absent here.

| file in the directory | columns, in any order; more are ignored                                                     |
|-----------------------|---------------------------------------------------------------------------------------------|
| `executions.csv`      | ClOrdID, OrderID, ExecID, ExecType, OrdStatus, Symbol, Side, OrderQty, CumQty, LeavesQty;    |
|                       | LastQty, LastPx, AvgPx where there are any                                                   |
| `positions.csv`       | Symbol, Qty                                                                                  |
| `balances.csv`        | Asset, Qty                                                                                   |

FIX names its fields so (FIX 4.4 volume 6). A file that is not there is a question that is not offered.
"""

import asyncio
import csv
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from sidecar.messages.orders import ExecutionReport
from sidecar.reconciler.adapter import REPORTS_MAX, Holding, NoAnswer, Offer, Unoffered, Wanted

FILE_BYTES_MAX: Final = 32 * 1024 * 1024
_FILES: Final[dict[str, Offer]] = {
    "executions.csv": "fills",
    "positions.csv": "positions",
    "balances.csv": "balances",
}
_COLUMNS: Final = {"Symbol": "symbol", "Side": "side"}
_NUMBERS: Final = ("OrderQty", "CumQty", "LeavesQty", "LastQty", "LastPx", "AvgPx")
Row = TypeVar("Row")


class CsvStatements(Unoffered):
    """The statements of one account in one directory, read anew with each question."""

    def __init__(self, venue: str, account: str, directory: Path) -> None:
        self.account = account
        self._venue = venue
        self._directory = directory

    @property
    def offers(self) -> frozenset[Offer]:
        """What there are files for, now."""
        found = {offer for name, offer in _FILES.items() if (self._directory / name).is_file()}
        return frozenset(found | ({"query"} if "fills" in found else set()))

    async def query(self, wanted: Wanted) -> tuple[ExecutionReport, ...] | None:
        """See `VenueAdapter`; never None."""
        found = tuple(each for each in await self._executions() if each.cl_ord_id == wanted.cl_ord_id)
        if not found:
            raise NoAnswer("the statement says nothing of it, which proves nothing")
        return found

    async def fills(self, since_ms: int) -> Sequence[ExecutionReport]:
        """See `VenueAdapter`: all of the file, which says which time it covers by being there."""
        return (await self._executions())[-REPORTS_MAX:]

    async def positions(self) -> Sequence[Holding]:
        """See `VenueAdapter`."""
        return await self._read("positions.csv", lambda row: Holding(_text(row, "Symbol"), _number(row, "Qty")))

    async def balances(self) -> Sequence[Holding]:
        """See `VenueAdapter`."""
        return await self._read("balances.csv", lambda row: Holding(_text(row, "Asset"), _number(row, "Qty")))

    def forget(self) -> None:
        """Nothing is remembered."""

    async def close(self) -> None:
        """Nothing is open."""

    async def _executions(self) -> list[ExecutionReport]:
        return await self._read("executions.csv", self._execution)

    async def _read(self, name: str, read: Callable[[dict[str, str]], Row]) -> list[Row]:
        return await asyncio.to_thread(_rows, self._directory / name, read)

    def _execution(self, row: dict[str, str]) -> ExecutionReport:
        names = ("ClOrdID", "OrderID", "ExecID", "ExecType", "OrdStatus")
        told: dict[str, object] = {name: _text(row, name) for name in names}
        told |= {field: _text(row, name) for name, field in _COLUMNS.items()}
        told |= {name: str(_number(row, name)) for name in _NUMBERS if row.get(name) or name in _NUMBERS[:3]}
        told |= {"venue": self._venue, "account": self.account}
        return msgspec.convert(told, ExecutionReport)


def _rows(path: Path, read: Callable[[dict[str, str]], Row]) -> list[Row]:
    """Every row of a file. Raises NoAnswer, naming the line."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise NoAnswer(f"{path} is larger than {FILE_BYTES_MAX} bytes")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            found: list[Row] = []
            for row in rows:
                try:
                    found.append(read(row))
                except (NoAnswer, msgspec.ValidationError) as error:
                    raise NoAnswer(f"{path}, line {rows.line_num}: {error}") from error
            return found
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise NoAnswer(f"{path}: {error}") from error


def _text(row: dict[str, str], column: str) -> str:
    value = row.get(column)
    if not value:
        raise NoAnswer(f"column {column} is missing or empty")
    return value.strip()


def _number(row: dict[str, str], column: str) -> Decimal:
    try:
        return Decimal(_text(row, column))
    except InvalidOperation as error:
        raise NoAnswer(f"column {column} is no number: {row[column]!r}") from error
