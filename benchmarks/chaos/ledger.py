"""What clients were told, written down at the moment they were told it.

Owns the line on disk and its reading while it grows. Each process has a file of its own. It must not judge.
"""

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

Told = Literal["granted", "committed", "aborted", "unknown", "halted", "resumed", "held"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `key` is a ClOrdID, a halt's id, or an incarnation; `mark` its record (`term.n`) or its token.

    `at_ns` is CLOCK_BOOTTIME of this host.
    """

    at_ns: int
    by: str
    told: Told
    key: str
    mark: str = ""


_DECODER: Final = msgspec.json.Decoder(Entry)


class Ledger:
    """Appends to one file; what was noted is the kernel's at once, so killing the process loses none of it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def note(self, entry: Entry) -> None:
        """One line, in one write."""
        os.write(self._file, msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        """The end of it."""
        os.close(self._file)


class LedgerReader:
    """Reads what was added to a ledger since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._torn = b""

    def new(self) -> list[Entry]:
        """In the order of writing; nothing while there is no file."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        self._at += len(data)
        *lines, self._torn = (self._torn + data).split(b"\n")
        return [_DECODER.decode(each) for each in lines]
