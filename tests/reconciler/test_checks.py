"""Statements as files, and the periodic checks that hand them over."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.broker.interface import BrokerAway
from sidecar.config.venues import ReconcilerSettings, VenueSettings
from sidecar.messages.base import Message
from sidecar.messages.orders import Evidence
from sidecar.messages.reconcile import Market, Statement, StatementLine
from sidecar.reconciler.adapter import Holding, NoAnswer, Wanted
from sidecar.reconciler.checks import Checks
from sidecar.reconciler.statements import CsvStatements
from sidecar.reconciler.venues import CannotAsk, adapters

EXECUTIONS = """ClOrdID,OrderID,ExecID,ExecType,OrdStatus,Symbol,Side,OrderQty,CumQty,LeavesQty,LastQty,LastPx,Note
a-1,V-1,X-1,TRADE,FILLED,ACME,BUY,10,10,0,10,99.50,ours
b-1,V-2,X-2,NEW,NEW,ACME,SELL,5,0,5,,,somebody's
"""
POSITIONS = "Symbol,Qty\nACME,10\nOLD,0\nSHORT,-3.5\n"
BALANCES = "Asset,Qty\nUSD,1000.25\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with all three statements."""
    for name, text in (("executions", EXECUTIONS), ("positions", POSITIONS), ("balances", BALANCES)):
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


async def test_statements_are_read(files: Path) -> None:
    """Each file is what its columns say, exact to the last digit, and what is not there is not offered."""
    venue = CsvStatements("BANK", "ACC", files)
    assert venue.offers == {"query", "fills", "positions", "balances"}
    found = await venue.query(Wanted("a-1"))
    assert found is not None
    assert (found[0].last_px, found[0].venue, found[0].account) == (Decimal("99.50"), "BANK", "ACC")
    assert [each.cl_ord_id for each in await venue.fills(0)] == ["a-1", "b-1"]
    assert list(await venue.positions())[2] == Holding("SHORT", Decimal("-3.5"))
    (files / "positions.csv").unlink()
    assert venue.offers == {"query", "fills", "balances"}


async def test_a_statement_proves_no_absence(files: Path) -> None:
    """An order of which the statement says nothing is no answer, and never absent."""
    with pytest.raises(NoAnswer, match="proves nothing"):
        await CsvStatements("BANK", "ACC", files).query(Wanted("a-2"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (EXECUTIONS.replace("99.50", "much"), "line 2: column LastPx is no number"),
        (EXECUTIONS.replace("V-2", ""), "line 3: column OrderID is missing or empty"),
        (EXECUTIONS.replace("SELL", "SHORT"), "line 3: Invalid enum value 'SHORT'"),
        ('ClOrdID\n"a', "unexpected end of data"),
    ],
)
async def test_a_bad_row_makes_no_answer(files: Path, text: str, why: str) -> None:
    """A row that cannot be read makes the file no answer, with the line and the column."""
    (files / "executions.csv").write_text(text)
    with pytest.raises(NoAnswer, match=why):
        await CsvStatements("BANK", "ACC", files).fills(0)


def checks_of(
    files: Path, told: list[Message], *, fails: bool = False, interval_s: int = 30, news: asyncio.Event | None = None
) -> Checks:
    """Checks that hand over into `told`, and then set `news`."""

    async def carry(message: Message) -> None:
        if fails:
            raise BrokerAway("the broker is away")
        told.append(message)
        if news is not None:
            news.set()

    settings = VenueSettings(
        adapter="csv",
        account="ACC",
        directory=str(files),
        check_interval_s=interval_s,
        quote_currencies={"ACME": "USD"},
    )
    return Checks("rec", "BANK", settings, CsvStatements("BANK", "ACC", files), carry)


async def test_a_check_hands_over_fills_first(files: Path) -> None:
    """A whole check hands over the fills, then what the account holds; nothing is held of what is zero."""
    told: list[Message] = []
    checks = checks_of(files, told)
    await checks.check()
    assert [type(each) for each in told] == [Evidence, Evidence, Statement, Statement]
    positions = told[2]
    assert isinstance(positions, Statement)
    assert positions.lines == (StatementLine("ACME", Decimal(10)), StatementLine("SHORT", Decimal("-3.5")))
    assert [each.markets for each in told if isinstance(each, Statement)] == [(), (Market("ACME", "USD"),)]
    assert (checks.state().trouble, checks.state("slow").trouble) == ("", "slow")
    assert checks.state().checked_ms_ago is not None


@pytest.mark.parametrize("fault", ["file", "broker"])
async def test_a_check_that_fails_is_trouble_until_one_succeeds(files: Path, fault: str) -> None:
    """A file that cannot be read, or a broker that is away, makes the check trouble; the next good one ends it."""
    checks = checks_of(files, [], fails=fault == "broker")
    if fault == "file":
        (files / "positions.csv").write_text("Symbol,Qty\nACME,many\n")
    await checks.check()
    assert checks.state().trouble
    if fault == "file":
        (files / "positions.csv").write_text(POSITIONS)
        await checks.check()
        assert checks.state().trouble == ""


async def test_checks_go_on_by_themselves(files: Path) -> None:
    """A running check comes soon after the start; one that is never due checks nothing."""
    news = asyncio.Event()
    checks = checks_of(files, [], interval_s=1, news=news)
    running = asyncio.create_task(checks.run())
    try:
        async with asyncio.timeout(10):
            await news.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not checks_of(files, [], interval_s=0).due


def test_a_timer_where_there_is_none_stops_the_start(files: Path) -> None:
    """Whoever counts on a timer that the venue does not have is told at the start."""
    venue = VenueSettings(adapter="csv", account="ACC", directory=str(files), cancel_after_s=60)
    with pytest.raises(CannotAsk, match=r"venues.BANK.cancel_after_s: this venue has no cancel-all-after timer"):
        adapters({"BANK": venue}, ReconcilerSettings())


def test_a_secret_that_cannot_be_read_names_its_venue(tmp_path: Path) -> None:
    """A secret's file that is not there stops the start, with the venue's name."""
    venue = VenueSettings(adapter="ccxt", account="ACC", exchange="kraken", secret_file=str(tmp_path / "none"))
    with pytest.raises(CannotAsk, match=r"venues.KRAKEN.secret_file cannot be read"):
        adapters({"KRAKEN": venue}, ReconcilerSettings())


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "address: adapter simulated needs it"),
        ({"adapter": "ccxt", "account": "A"}, "exchange: adapter ccxt needs it"),
        ({"adapter": "csv", "directory": "/tmp"}, "account: adapter csv needs it"),
        ({"address": "a:1", "cancel_after_s": 60}, "account: cancel_after_s needs it"),
        ({"adapter": "ccxt", "account": "A", "exchange": "kraken", "secret": "x", "secret_file": "y"}, "remove one"),
    ],
)
def test_a_venue_that_lacks_something_is_refused(fields: dict[str, str], why: str) -> None:
    """A venue's settings that cannot work are refused, naming the field."""
    with pytest.raises(ValueError, match=why):
        VenueSettings.model_validate(fields)
