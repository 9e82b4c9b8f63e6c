"""`python -m benchmarks.deadman.reader NAME=PATH ...`: a process that does nothing but look at gate pages.

Owns the loop, and the lines on standard output: one JSON object for each closing, and for each gate that was seen open
after its deadline. It is a process of its own, as a component is, so that no event loop of ours delays its looks. It
ends with its parent (`sidecar/demo/leash.py`).
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from benchmarks.deadman.page_watch import PageWatch
from sidecar.gate.reader import GateReader

LOOK_S: Final = 0.0002
"""Between two looks at all pages. Lower is more exact and takes the processor from those who are measured."""


def watches(arguments: Sequence[str]) -> Iterator[PageWatch]:
    """One for each `NAME=PATH`."""
    now_ns = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
    for each in arguments:
        name, _, path = each.partition("=")
        yield PageWatch(name, GateReader(Path(path)), now_ns)


def main() -> NoReturn:
    """Look for ever, before others where that is allowed: the pause between two looks is a part of what is measured."""
    with suppress(PermissionError):
        os.nice(-10)
    watched, said = list(watches(sys.argv[1:])), sys.stdout.buffer
    while True:
        for each in watched:
            for found in each.look():
                said.write(msgspec.json.encode(found) + b"\n")
                said.flush()
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
