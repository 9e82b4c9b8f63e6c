"""The published description of the gate page, for readers in other languages.

Owns the words around the layout's constants; the file `schemas/gate-page.md` is this text, and a test holds the two
together.
"""

from collections.abc import Iterable
from typing import Final

from sidecar.gate.layout import (
    ENTRY_BYTES,
    ENTRY_FIELDS,
    FIELDS,
    HEADER_BYTES,
    LAYOUT_VERSION,
    PAGE_BYTES,
    SCOPES_MAX,
    PageField,
)

_INTRODUCTION: Final = """\
# The gate page, layout version {version}

Generated from `sidecar/gate/layout.py`; do not edit. How to use it, and which way it fails, is in `docs/gate.md`.

A file of {page} bytes, by default `/dev/shm/sidecar-COMPONENT.gate`: a header of {header} bytes, then a table of
{scopes} entries of {entry} bytes. Integers are unsigned and little-endian. Map it read-only and shared.

## Header

{fields}
## One entry of the table of scoped halts

Entry i begins at {header} + {entry} i. Offsets here are from the beginning of the entry.

{entries}
## How to read it

Closed is the answer whenever anything is missing or in doubt.

1. At the first use: the file has {page} bytes; `magic`, `version` and `boot_id` match. Otherwise closed.
2. Load `open_until` with one 8-byte load. If the host's CLOCK_BOOTTIME is below it, every order passes. That is all a
   reader needs that knows no scoped halts, no reducing and no cancelling: in every other case its answer is closed.
3. Otherwise, for the finer answer: copy the page; take the copy only if its `sequence` is even and its `checksum`
   is right, else copy again, a bounded number of times, then closed.
4. In the copy: `role` is 1 and CLOCK_BOOTTIME is below `deadline`, else closed. Then the order must pass at
   `trading_state` and at the `level` of every entry that names its venue, account, symbol or strategy:

| level | new order | risk-reducing order | cancel |
|---|---|---|---|
| 0 ACTIVE | passes | passes | passes |
| 1 REDUCING | no | passes | passes |
| 2 CANCEL_ONLY | no | no | passes |
| 3 HALTED | no | passes if bit 0 of `flags` is set | passes |

5. When closed, compare the file at the path with the one that is mapped (device and inode), and map anew if they
   differ: it was removed and made again.
"""


def describe() -> str:
    """The text of `schemas/gate-page.md`."""
    return _INTRODUCTION.format(
        version=LAYOUT_VERSION,
        page=PAGE_BYTES,
        header=HEADER_BYTES,
        entry=ENTRY_BYTES,
        scopes=SCOPES_MAX,
        fields=_table(FIELDS),
        entries=_table(ENTRY_FIELDS),
    )


def _table(fields: Iterable[PageField]) -> str:
    rows = "".join(f"| {each.offset} | {each.size} | `{each.name}` | {each.meaning} |\n" for each in fields)
    return f"| offset | size | name | meaning |\n|---|---|---|---|\n{rows}"
