"""Archived entries and the result of a verification: as tables, as JSON, as CSV and JSON Lines in files.

Owns words and layout. It must not ask the archive anything. A file appears when it is complete: it is written beside
its name, and renamed.
"""

import base64
import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from sidecar.cli.output import console
from sidecar.journal.archive_compare import Compared
from sidecar.journal.archive_ledger import Row
from sidecar.journal.archive_verify import AuditFinding, Verified

TELL_ROWS: Final = 500
WHAT_CHARS_MAX: Final = 120
COLUMNS: Final = (
    "offset",
    "at",
    "verdict",
    "kind",
    "term",
    "n",
    "author",
    "cl_ord_id",
    "orig_cl_ord_id",
    "component",
    "group",
    "slot",
    "actor",
    "at_ns",
    "journal_chain",
    "archive_chain",
    "body",
)
"""Of an export: the columns of CSV and the keys of JSON. A body that is not UTF-8 is `body_base64` there."""
_IN_COLUMNS: Final = {"fact", "ClOrdID", "OrigClOrdID", "cl_ord_id", "component", "slot", "group", "actor"}


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of `audit verify`. `note` is what to keep elsewhere for a later --expect."""

    ok: bool
    rows: int
    first_offset: int
    last_offset: int
    begins: str
    note: str
    journal_chain: str
    findings: tuple[AuditFinding, ...]
    findings_left_off: int
    compared: Compared | None
    took_s: float

    @classmethod
    def of(cls, verified: Verified, compared: Compared | None, *, allow_gaps: bool, took_s: float) -> "Audited":
        """Both results together. A gap is a failure unless it is allowed."""
        findings = verified.findings + (() if compared is None else compared.findings)
        bad = [each for each in findings if not (allow_gaps and each.kind == "gap")]
        return cls(
            ok=not bad and not verified.left_off,
            rows=verified.rows,
            first_offset=verified.first_offset,
            last_offset=verified.last_offset,
            begins=verified.begins,
            note=f"{verified.last_offset}:{verified.archive_chain}" if verified.rows else "",
            journal_chain=verified.journal_chain,
            findings=findings,
            findings_left_off=verified.left_off,
            compared=compared,
            took_s=round(took_s, 3),
        )


def show_audited(audited: Audited) -> None:
    """For a person."""
    screen = console()
    for each in audited.findings:
        where = f"offset {each.first}" if each.first == each.last else f"offsets {each.first} to {each.last}"
        style = "yellow" if each.kind == "gap" else "bold red"
        screen.print(Text.assemble((f"{each.kind:<10}", style), f"{where}: {each.text}"), soft_wrap=True)
    if audited.findings_left_off:
        screen.print(f"and {audited.findings_left_off} more")
    if not audited.rows:
        screen.print("the archive is empty")
        return
    span = f"{audited.rows} rows, offsets {audited.first_offset} to {audited.last_offset} ({audited.begins})"
    screen.print(f"{'as archived' if audited.ok else 'NOT as archived'}: {span}", soft_wrap=True)
    if audited.compared is not None and audited.compared.first_offset is not None:
        compared = audited.compared
        screen.print(
            f"compared with the journal: {compared.entries} entries, "
            f"offsets {compared.first_offset} to {compared.last_offset}"
        )
    elif audited.compared is not None:
        screen.print("compared with the journal: the stream has none of these entries")
    if audited.ok:
        screen.print(f"keep elsewhere, for --expect: {audited.note}", soft_wrap=True)


def entry_json(row: Row) -> dict[str, Any]:
    """One entry as plain values; `record` is the body where it is JSON."""
    table = {
        "offset": row.stream_offset,
        "at": _when(row.at_ns),
        "verdict": row.verdict,
        "kind": row.kind,
        "term": row.term,
        "n": row.n,
        "author": row.author,
        "cl_ord_id": row.cl_ord_id,
        "orig_cl_ord_id": row.orig_cl_ord_id,
        "component": row.component,
        "group": row.group_name,
        "slot": row.slot,
        "actor": row.actor,
        "at_ns": row.at_ns,
        "journal_chain": row.journal_chain,
        "archive_chain": row.archive_chain,
    }
    text = _text(row.body)
    return table | ({"body_base64": base64.b64encode(row.body).decode()} if text is None else {"body": text})


def entries_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Entries as `--json` prints them."""
    return [entry_json(each) for each in rows]


def write_json_lines(path: Path, rows: Iterable[Row], tell: Callable[[int], None]) -> int:
    """One JSON object a line; returns how many."""
    count = 0
    with _whole_file(path) as file:
        for count, row in enumerate(rows, 1):
            file.write(msgspec.json.encode(entry_json(row)).decode() + "\n")
            if count % TELL_ROWS == 0:
                tell(count)
    return count


def write_csv(path: Path, rows: Iterable[Row], tell: Callable[[int], None]) -> int:
    """RFC 4180 with a heading; a body that is not UTF-8 is written as base64 with that word before it."""
    count = 0
    with _whole_file(path) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for count, row in enumerate(rows, 1):
            table = entry_json(row)
            table.setdefault("body", f"base64:{table.get('body_base64')}")
            writer.writerow(["" if table[each] is None else table[each] for each in COLUMNS])
            if count % TELL_ROWS == 0:
                tell(count)
    return count


def entries_table(rows: Iterable[Row]) -> Table:
    """One row each, in the order given."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("offset", "when (UTC)", "kind", "ClOrdID", "component", "slot", "actor", "what"):
        table.add_column(column, overflow="fold", justify="right" if column == "offset" else "left")
    for row in rows:
        kind = row.kind or "?"
        table.add_row(
            str(row.stream_offset),
            _when(row.at_ns),
            Text(kind if row.verdict == "valid" else f"{kind} ({row.verdict})", style=_style(row)),
            Text(row.cl_ord_id),
            Text(row.component),
            Text(row.slot or row.group_name),
            Text(row.actor),
            Text(_what(row)),
        )
    return table


def _style(row: Row) -> str:
    return {"valid": "", "gap": "bold red", "hole": "dim"}.get(row.verdict, "dim")


def _what(row: Row) -> str:
    """What the fact says beyond the columns, shortly."""
    try:
        table = msgspec.json.decode(row.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"{len(row.body)} bytes that are no record"
    fact = table.get("fact", table) if isinstance(table, dict) else table
    if not isinstance(fact, dict):
        return ""
    parts = [
        f"{name} {_plain(value)}" for name, value in fact.items() if name not in _IN_COLUMNS and value not in ("", None)
    ]
    text = ", ".join(parts)
    return text if len(text) <= WHAT_CHARS_MAX else text[: WHAT_CHARS_MAX - 3] + "..."


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        inner = [each for name, each in value.items() if name not in _IN_COLUMNS and isinstance(each, str | int)]
        return " ".join(str(each) for each in inner if each != "")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _when(at_ns: int | None) -> str:
    """To the microsecond, UTC; empty for none and for what no calendar has."""
    if at_ns is None:
        return ""
    try:
        return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


@contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    if str(path) == "-":
        yield sys.stdout
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
