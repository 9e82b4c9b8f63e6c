"""`sidecar order ID`: the whole story of one order, from the leader's memory and from the journal.

Owns the command and where the story is read: in the archive where there is one, else in the journal's stream. How it is
told is in `order_view.py`. What cannot be read is said, and whatever else is known is told all the same.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Final

import typer

from sidecar.broker.interface import BrokerError
from sidecar.broker.rabbit import RabbitBroker
from sidecar.cli.audit import ArchiveOption, archive_at, progress_of
from sidecar.cli.errors import ExitCode
from sidecar.cli.graph import build_broker, operator_at, read_settings
from sidecar.cli.options import ConfigOption, JsonOption, TimeoutOption, actor_or_default
from sidecar.cli.order_view import OrderTold, order_view
from sidecar.cli.output import console, print_json
from sidecar.client.operator import NoAnswer
from sidecar.config.models import Settings
from sidecar.journal.archive_errors import ArchiveAway, ArchiveError
from sidecar.journal.archive_search import reading
from sidecar.journal.order_records import from_archive, from_stream
from sidecar.journal.order_story import OrderStory
from sidecar.messages.order_queries import OrderReport

CATCHING_UP_S: Final = 2.0
"""How long the archive may take to have what the leader has already decided."""
LOOK_AGAIN_S: Final = 0.1


def order(
    name: Annotated[str, typer.Argument(metavar="ID", help="A ClOrdID, or VENUE/OrderID.")],
    archive: ArchiveOption = "",
    read_s: Annotated[
        float,
        typer.Option("--read", min=0.0, max=3600.0, metavar="SECONDS", help="How long to read the stream; 0 not."),
    ] = 60.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 5.0,
) -> None:
    """One order from its intent to now: each phase, who and when, evidence, its chain, breaks, and what it waits for.

    Exit codes: 0 told; 1 nobody knows such an order; 4 no arbiter answered: what the archive has is told.
    """
    settings = read_settings(config)
    report, trouble = asyncio.run(_ask(settings, name, timeout_s))
    story, source, noted = _story(settings, config, archive, name, report, read_s)
    told = OrderTold.of(name, report, story, source=source, notes=tuple(filter(None, (trouble, noted))))
    if as_json:
        print_json(told)
    else:
        console().print(order_view(told))
    if report is None:
        raise typer.Exit(ExitCode.UNKNOWN)
    raise typer.Exit(ExitCode.OK if told.known else ExitCode.NO)


async def _ask(settings: Settings, name: str, timeout_s: float) -> tuple[OrderReport | None, str]:
    try:
        async with operator_at(settings, actor_or_default(""), timeout_s) as operator:
            return await operator.order(name, timeout_s=timeout_s), ""
    except (NoAnswer, BrokerError) as error:
        return None, f"how it stands now is not known: {error}"


def _story(
    settings: Settings, config: Path | None, archive: str, name: str, report: OrderReport | None, read_s: float
) -> tuple[OrderStory | None, str, str]:
    """The story, where it was read, and what is to know of that."""
    known = _relatives(report)
    found = report.cl_ord_id if report is not None and report.remembered != "NOT" else name
    url = archive_at(archive, config)
    try:
        with reading(url):
            pass
    except (ArchiveError, ArchiveAway) as error:
        if archive:
            raise
        away = str(error) if isinstance(error, ArchiveAway) or settings.archive.url or settings.archive.url_file else ""
    else:
        asyncio.run(_caught_up(url, report))
        return _archived(settings, url, found, known, report, read_s)
    story, trouble = _from_stream(settings, found, known, report, read_s)
    return story, "journal" if story is not None else "", "; ".join(filter(None, (away, trouble)))


def _archived(
    settings: Settings, url: str, name: str, known: tuple[str, ...], report: OrderReport | None, read_s: float
) -> tuple[OrderStory, str, str]:
    """From the archive; where that lags, an order that is in memory is read from the stream, which has all of it."""
    lag = _lag(url, report)
    if lag and report is not None and report.remembered == "WHOLE":
        story, _ = _from_stream(settings, name, known, report, read_s)
        if story is not None and story.told:
            return story, "journal", ""
    return from_archive(url, name, known), "archive", lag


def _from_stream(
    settings: Settings, name: str, known: tuple[str, ...], report: OrderReport | None, read_s: float
) -> tuple[OrderStory | None, str]:
    if report is None or not read_s:
        return None, "the journal was not read"
    begin, end, wait_s = report.begins, report.offset, read_s

    async def read(tell: Callable[[int], None]) -> OrderStory:
        return await from_stream(connect, name, known, begin=begin, end=end, wait_s=wait_s, tell=tell)

    def connect() -> RabbitBroker:
        return build_broker(settings, "operator, reading the journal")

    progress: AbstractContextManager[Callable[[int], None]] = progress_of("reading the journal", end)
    try:
        with progress as tell:
            return asyncio.run(read(tell)), ""
    except TimeoutError:
        return None, f"the journal was not read to its end within {read_s:g} s: --read SECONDS, or `sidecar archive`"
    except BrokerError as error:
        return None, f"the journal could not be read: {error}"


def _relatives(report: OrderReport | None) -> tuple[str, ...]:
    if report is None:
        return ()
    names = (*report.replaces, *report.replaced_by, report.replacing, report.cancelled_by)
    return tuple(filter(None, names))


async def _caught_up(url: str, report: OrderReport | None) -> None:
    """Give the archive a moment to have what the leader has."""
    for _ in range(round(CATCHING_UP_S / LOOK_AGAIN_S)):
        if not _lag(url, report):
            return
        await asyncio.sleep(LOOK_AGAIN_S)


def _lag(url: str, report: OrderReport | None) -> str:
    with reading(url) as reader:
        archived = reader.place().next_offset - 1
    if report is None or archived >= report.offset:
        return ""
    return f"the archive ends at offset {archived}, the leader stands at {report.offset}: what came since is not told"
