"""Dead letters for people and as JSON.

Owns the words and the making safe of what strangers sent: bodies and headers are bounded, and no control character of
theirs reaches a terminal. It must not read a queue.
"""

import base64
import time
from collections.abc import Mapping

import msgspec
from rich.table import Table
from rich.text import Text

from sidecar.broker.letters import Letter

BODY_SHOWN_MAX = 4_096
"""Bytes of a body that are printed; JSON has all that was kept."""
VALUE_SHOWN_MAX = 200
TEXT_SHOWN_MAX = 120


class LetterLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON of one letter. `body` is set when it is UTF-8, else `body_base64`; the rest only by `show`.

    `age_s` is null when its sender put no time on it; clocks of hosts differ, so it is at least 0.
    """

    id: str
    age_s: int | None
    code: str
    text: str
    type: str
    exchange: str
    routing_key: str
    app_id: str
    user_id: str
    body_bytes: int
    truncated: bool
    redriven_times: int
    headers: dict[str, str] | None = None
    body: str | None = None
    body_base64: str | None = None
    redrive_refusal: str | None = None


class LetterList(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of the list. `count` is how many waited, also beyond the limit."""

    count: int
    letters: tuple[LetterLine, ...]


def shown(letter: Letter, *, with_body: bool = False, refusal: str = "") -> LetterLine:
    """A letter as it is shown; `refusal` is why it may not go back."""
    body, encoded = _body(letter.body) if with_body else (None, None)
    return LetterLine(
        id=letter.letter_id,
        age_s=None if letter.put_away_s is None else max(0, int(time.time()) - letter.put_away_s),
        code=letter.code,
        text=letter.text,
        type=letter.type,
        exchange=letter.exchange,
        routing_key=letter.routing_key,
        app_id=letter.app_id,
        user_id=letter.user_id,
        body_bytes=letter.body_bytes,
        truncated=letter.truncated,
        redriven_times=letter.redriven_times,
        headers=_headers(letter.headers) if with_body else None,
        body=body,
        body_base64=encoded,
        redrive_refusal=refusal if with_body else None,
    )


def letters_table(found: LetterList) -> Table:
    """The list as a table."""
    more = found.count - len(found.letters)
    caption = f"{found.count} waiting" + (f", {more} more than shown: --limit" if more > 0 else "")
    table = Table("id", "age", "code", "type", "from", "was sent to", "again", "why", caption=caption, box=None)
    for each in found.letters:
        cells = (
            each.id,
            age(each.age_s),
            each.code,
            each.type or "-",
            f"{each.app_id or '-'} ({each.user_id or 'no user'})",
            f"{each.exchange} {each.routing_key}",
            str(each.redriven_times or ""),
            each.text[:TEXT_SHOWN_MAX],
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def letter_text(each: LetterLine) -> Text:
    """One letter, line by line."""
    lines = [
        ("id", each.id),
        ("age", age(each.age_s)),
        ("why", f"{each.code}: {each.text}"),
        ("type", each.type),
        ("from", f"{each.app_id or '-'} (broker user {each.user_id or 'none'})"),
        ("was sent to", f"exchange {each.exchange!r} with key {each.routing_key!r}"),
        ("redriven", f"{each.redriven_times} times"),
        ("may go back", "yes" if not each.redrive_refusal else f"no: {each.redrive_refusal}"),
        *((f"header {name}", value) for name, value in sorted((each.headers or {}).items())),
        ("body", f"{each.body_bytes} bytes" + (", cut when it was put away" if each.truncated else "")),
    ]
    text = Text("\n".join(f"{printable(name)}: {printable(value)}" for name, value in lines))
    return text.append(f"\n{_body_text(each)}")


def age(seconds: int | None) -> str:
    """As people say it: 42s, 7m, 3h, 12d."""
    if seconds is None:
        return "?"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def printable(text: str) -> str:
    """The text with every control character, line end and bidirectional mark written out as an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _body(body: bytes) -> tuple[str | None, str | None]:
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode()


def _body_text(each: LetterLine) -> str:
    body = (each.body or "").encode() if each.body_base64 is None else base64.b64decode(each.body_base64)
    said = body[:BODY_SHOWN_MAX].decode("utf-8", "backslashreplace")
    kept = "\n".join(printable(line) for line in said.split("\n"))
    more = len(body) - BODY_SHOWN_MAX
    return kept + (f"\n... {more} bytes more: --json" if more > 0 else "")


def _headers(headers: Mapping[str, object]) -> dict[str, str]:
    return {name[:VALUE_SHOWN_MAX]: _value(value)[:VALUE_SHOWN_MAX] for name, value in headers.items()}


def _value(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
