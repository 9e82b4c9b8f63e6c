"""The gate check, beside its floor: an empty function call and one reading of the clock.

Prints both and merges them into build/bench.json. Run it as `python benchmarks/gate.py`, or `make bench-gate`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from timeit import Timer

from sidecar.core.page import Page
from sidecar.gate.reader import GateReader
from sidecar.gate.writer import GateWriter
from sidecar.messages.control import TradingState

CALLS = 100_000
ROUNDS = 15
RESULTS = Path("build/bench.json")


def empty() -> None:
    """What any call costs."""


def nanoseconds(call: Callable[[], object], statement: str) -> float:
    """The least time of one execution over several rounds: noise only ever adds."""
    timer = Timer(statement, globals={"call": call, "clock": time.clock_gettime_ns, "BOOTTIME": time.CLOCK_BOOTTIME})
    return min(timer.repeat(ROUNDS, CALLS)) / CALLS * 1e9


def measure(gate: Path) -> dict[str, dict[str, float | str]]:
    """Ours beside the floor, for a plain page and for one with scoped halts."""
    writer, reader = GateWriter(gate), GateReader(gate)
    until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 3_600 * 10**9
    scoped = tuple((f"symbol:{each}", TradingState.HALTED) for each in range(10))
    floor_ns = nanoseconds(empty, "call(); clock(BOOTTIME)")
    results: dict[str, dict[str, float | str]] = {}
    for name, halts in (("gate_check", ()), ("gate_check_scoped", scoped)):
        page = Page(role="ACTIVE", trading_state=TradingState.ACTIVE, deadline_ns=until_ns, scoped=halts)
        writer.write(page)
        ours_ns = nanoseconds(reader.check, "call()")
        results[name] = {
            "ours": round(ours_ns, 1),
            "floor": round(floor_ns, 1),
            "ratio": round(ours_ns / floor_ns, 2),
            "unit": "ns",
        }
    writer.close()
    return results


def main() -> None:
    """Measure, print, merge."""
    with tempfile.TemporaryDirectory() as directory:
        results = measure(Path(directory) / "bench.gate")
    for name, each in results.items():
        sys.stdout.write(f"{name}: ours {each['ours']} ns, floor {each['floor']} ns, ratio {each['ratio']}\n")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
