"""The order of the log decides: which records count, the same for every reader.

Owns the validity rule of DESIGN section 7 and the hash chain. It must not know what facts mean.

| record, read after the log stood at (term, author, n) | verdict   |
|--------------------------------------------------------|-----------|
| TermStarted of a higher term, its n 0                  | VALID: the log now stands at (its term, its author, 0) |
| same term, same author, its n == n + 1, no TermStarted | VALID: the log now stands at n + 1 |
| same term, same author, its n <= n                     | DUPLICATE: a repeated append after a lost confirm |
| anything else: a lower term, the loser of a race for a term, a gap | VOID |

A gap is void because its author appends again from the first record it has not read back.

The chain is over the bytes as they stand in the log, never over a re-encoding: a field that this version does not know
must not tear the chain between versions.
"""

import hashlib
from enum import Enum
from typing import Final

import msgspec

from sidecar.messages.codec import encode
from sidecar.messages.journal import Record, TermStarted


class InvariantBroken(Exception):
    """Our own code did what it must never do; the process that raises this must stop."""


class Verdict(Enum):
    """What a record in the log is worth."""

    VALID = "valid"
    DUPLICATE = "duplicate"
    VOID = "void"


_VALID: Final = Verdict.VALID
"""Python 3.11 looks an enumeration's members up slowly, and this is asked for every record."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where the log stands. `chain` is the BLAKE2b hash over all valid records so far, hexadecimal."""

    term: int = 0
    author: str = ""
    n: int = -1
    chain: str = ""


def judge(position: Position, record: Record) -> Verdict:
    """The table above."""
    if isinstance(record.fact, TermStarted) and record.n == 0 and record.term > position.term:
        return _VALID
    if record.term != position.term or record.arbiter != position.author:
        return Verdict.VOID
    if record.n <= position.n:
        return Verdict.DUPLICATE
    if isinstance(record.fact, TermStarted):
        return Verdict.VOID
    return _VALID if record.n == position.n + 1 else Verdict.VOID


def nothing_missing(position: Position, record: Record | None, offsets: int) -> bool:
    """Whether no record that counts can have stood in so many offsets that were never delivered, before `record`.

    A stream's offsets have holes: with each new segment RabbitMQ uses one itself (docs/broker.md). What retention takes
    away, or a stream that was made anew lacks, is not one offset. `record` is None for an entry that is no record.
    """
    if offsets <= 0:
        return True
    if record is None or isinstance(record.fact, TermStarted):
        return offsets == 1
    if judge(position, record) is Verdict.VALID:
        return True
    ruling = (record.term, record.arbiter) == (position.term, position.author)
    return offsets == 1 and not (ruling and record.n > position.n)


def advance(position: Position, record: Record, body: bytes | None = None) -> Position:
    """The position after a VALID record. `body` are its bytes in the log; None where it never was in one, only here."""
    chain = hashlib.blake2b(position.chain.encode(), digest_size=16)
    chain.update(encode(record) if body is None else body)
    return Position(record.term, record.arbiter, record.n, chain.hexdigest())
