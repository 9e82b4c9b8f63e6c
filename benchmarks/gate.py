"""The gate check, beside its floor: an empty function call and one reading of the clock.

`gate_check` names all that an order concerns, as a component does; `gate_check_scoped` does so under ten scoped halts,
none of which concerns it; `gate_check_bare` names nothing. Prints ours and the floor and merges them into
build/bench.json. Run it as `python benchmarks/gate.py`, or `make bench-gate`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from timeit import Timer

from sidecar.core.page import Page
from sidecar.gate.reader import GateReader
from sidecar.gate.writer import GateWriter
from sidecar.messages.control import TradingState

CALLS = 10_000
ROUNDS = 150
RESULTS = Path("build/bench.json")


def empty() -> None:
    """What any call costs."""


BARE = "call()"
NAMED = 'call("BUY", qty, symbol="XYZ", venue="SIM", account="A1", strategy="maker")'
FLOOR = "empty(); clock(BOOTTIME)"


def nanoseconds(call: Callable[..., object], *statements: str) -> list[float]:
    """The least time of one execution of each over several rounds, taken in turn: noise only ever adds."""
    names = {"call": call, "empty": empty, "qty": Decimal(1), "clock": time.clock_gettime_ns}
    timers = [Timer(each, globals={**names, "BOOTTIME": time.CLOCK_BOOTTIME}) for each in statements]
    rounds = [[timer.timeit(CALLS) for timer in timers] for _ in range(ROUNDS)]
    return [min(times) / CALLS * 1e9 for times in zip(*rounds, strict=True)]


def measure(gate: Path) -> dict[str, dict[str, float | str]]:
    """Ours beside the floor, for a plain page and for one with scoped halts."""
    writer, reader = GateWriter(gate), GateReader(gate)
    until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 3_600 * 10**9
    scoped = tuple((f"symbol:{each}", TradingState.HALTED) for each in range(10))
    results: dict[str, dict[str, float | str]] = {}
    for name, statement, halts in (
        ("gate_check", NAMED, ()),
        ("gate_check_scoped", NAMED, scoped),
        ("gate_check_bare", BARE, ()),
    ):
        page = Page(role="ACTIVE", trading_state=TradingState.ACTIVE, deadline_ns=until_ns, scoped=halts)
        writer.write(page)
        ours_ns, floor_ns = nanoseconds(reader.check, statement, FLOOR)
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
