"""`sidecar audit`: searches, exports and verifies the archive.

Owns the two commands and their options. How entries look is in `audit_view.py`, what is found out in `journal/`.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.engine import make_url
from typer.core import TyperGroup

from sidecar.cli.audit_view import (
    Audited,
    entries_json,
    entries_table,
    show_audited,
    write_csv,
    write_json_lines,
)
from sidecar.cli.errors import ExitCode
from sidecar.cli.graph import archive_url, build_broker, read_settings
from sidecar.cli.options import ConfigOption, JsonOption
from sidecar.cli.output import console, print_json
from sidecar.journal.archive_compare import Compared, compare_with_journal
from sidecar.journal.archive_search import Wanted, reading
from sidecar.journal.archive_verify import Noted, verify

SHOWN: Final = 100
"""Entries on the screen unless --limit says otherwise; files get all of them."""
_AGO: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

ArchiveOption = Annotated[
    str, typer.Option("--archive", metavar="URL", help="Another archive than archive.url; without a password.")
]
FileOption = Path | None


class SearchByDefault(TyperGroup):
    """`sidecar audit --component exec-a` is `sidecar audit search --component exec-a`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command before options that are not the group's own."""
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h"):
            args = ["search", *args]
        return super().parse_args(ctx, args)


def build_audit() -> typer.Typer:
    """The group of both commands."""
    app = typer.Typer(
        cls=SearchByDefault,
        no_args_is_help=True,
        help="Search, export and verify the archive of the journal. With options only: `audit search`.",
    )
    app.command()(search)
    app.command("verify")(verify_command)
    return app


def search(
    cl_ord_id: Annotated[str, typer.Option("--cl-ord-id", metavar="ID", help="Of this order, cancels too.")] = "",
    component: Annotated[str, typer.Option("--component", metavar="NAME", help="That name this component.")] = "",
    group: Annotated[str, typer.Option("--group", metavar="NAME", help="Of this failover group.")] = "",
    slot: Annotated[str, typer.Option("--slot", metavar="NAME", help="Of this slot, as execution/0.")] = "",
    actor: Annotated[str, typer.Option("--actor", metavar="NAME", help="Asked for by this person.")] = "",
    kind: Annotated[list[str] | None, typer.Option("--kind", metavar="KIND", help="As HaltRaised; repeatable.")] = None,
    since: Annotated[str, typer.Option("--since", metavar="WHEN", help="2026-03-31T09:00Z, or 2h ago as 2h.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="WHEN", help="Before this time.")] = "",
    oldest: Annotated[bool, typer.Option("--oldest", help="Oldest first; else the newest.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Ticks, repeated and void entries too.")] = False,
    csv: Annotated[FileOption, typer.Option("--csv", metavar="FILE", help="Write CSV to this file.")] = None,
    jsonl: Annotated[FileOption, typer.Option("--jsonl", metavar="FILE", help="Write JSON Lines to this file.")] = None,
    archive: ArchiveOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Entries of the journal, from the archive: newest first, at most 100, unless said otherwise.

    Exports hold everything that matches, oldest first. Exit codes: 0 answered; 1 no archive; 4 it does not answer.
    """
    now = datetime.now(UTC)
    exporting = csv is not None or jsonl is not None
    wanted = Wanted(
        cl_ord_id=cl_ord_id,
        component=component,
        group=group,
        slot=slot,
        actor=actor,
        kinds=tuple(kind or ()),
        since_ns=_time_ns(since, now, "--since"),
        until_ns=_time_ns(until, now, "--until"),
        everything=everything,
        oldest_first=oldest or exporting,
        limit=limit or (0 if exporting else SHOWN),
    )
    url = archive_at(archive, config)
    if not exporting:
        with reading(url) as reader:
            found = list(reader.find(wanted))
        if as_json:
            print_json(entries_json(found))
        elif found:
            console().print(entries_table(found))
        else:
            console().print("nothing in the archive matches")
        return
    written: dict[str, int] = {}
    for path, write in ((csv, write_csv), (jsonl, write_json_lines)):
        if path is not None:
            with reading(url) as reader, progress_of(f"writing {path}", reader.count(wanted)) as tell:
                written[str(path)] = write(path, reader.find(wanted), tell)
    if as_json:
        print_json(written)
    else:
        for name, rows in written.items():
            console(stderr=True).print(f"{rows} entries in {name}")


def verify_command(
    expect: Annotated[
        str, typer.Option("--expect", metavar="OFFSET:CHAIN", help="What an earlier verify printed, kept elsewhere.")
    ] = "",
    journal: Annotated[bool, typer.Option("--journal", help="Compare with the stream too, as far as it goes.")] = False,
    allow_gaps: Annotated[
        bool, typer.Option("--allow-gaps", help="Gaps that were noted when they arose are told, and are no failure.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, max=600.0, metavar="SECONDS", help="--journal: wait for the broker.")
    ] = 10.0,
    archive: ArchiveOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute both hash chains and every column, and say which entry was removed, changed or reordered.

    Exit codes: 0 everything is as it was archived; 1 it is not, or there is no archive; 4 it does not answer.
    """
    noted, url = _noted(expect), archive_at(archive, config)
    began_s = time.monotonic()
    with reading(url) as reader, progress_of("verifying", reader.total()) as tell:
        verified = verify(reader, noted=noted, tell=tell)
    compared = _compare(url, config, timeout_s) if journal else None
    audited = Audited.of(verified, compared, allow_gaps=allow_gaps, took_s=time.monotonic() - began_s)
    if as_json:
        print_json(audited)
    else:
        show_audited(audited)
    raise typer.Exit(ExitCode.OK if audited.ok else ExitCode.NO)


def _compare(url: str, config: Path | None, timeout_s: float) -> Compared:
    settings = read_settings(config)

    async def run() -> Compared:
        with progress_of("comparing with the journal", None) as tell:
            return await compare_with_journal(build_broker(settings, "audit"), url, wait_s=timeout_s, tell=tell)

    return asyncio.run(run())


def archive_at(archive: str, config: Path | None) -> str:
    """The URL that `--archive` names, or the configured one. BadParameter for one with a password."""
    if not archive:
        return archive_url(read_settings(config))
    try:
        secret = make_url(archive).password is not None
    except Exception:
        secret = False  # Whatever it is, opening it says what is wrong with it.
    if secret:
        raise typer.BadParameter(
            "everybody on this host can read a command line: set SIDECAR_ARCHIVE__URL instead", param_hint="--archive"
        )
    return archive


def _noted(text: str) -> Noted | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text.strip())
    if match is None:
        raise typer.BadParameter("write the offset and the chain, as verify printed them", param_hint="--expect")
    return Noted(int(match[1]), match[2])


def _time_ns(text: str, now: datetime, option: str) -> int | None:
    """Nanoseconds since 1970; a time without a zone is UTC, `2h` is two hours before `now`."""
    if not text:
        return None
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    try:
        if ago:
            when = now - timedelta(seconds=int(ago[1]) * _AGO[ago[2]])
        else:
            when = datetime.fromisoformat(text.strip())
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return int(when.timestamp() * 1_000_000) * 1_000
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            "write a time as 2026-03-31T09:00:00Z, or as 90s, 10m, 2h or 7d for so long ago", param_hint=option
        ) from None


@contextmanager
def progress_of(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where that is a terminal; nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
