"""`python -m benchmarks.orders`: pre-commit beside the broker's own, on one node and on three, and memory.

Owns the command line and the results: printed side by side and merged into build/bench.json. docs/benchmarks.md says
what each figure is. `make bench-orders` runs all of it.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import structlog

from benchmarks.chaos.cluster import ClusterFailed
from benchmarks.orders import latency, memory, throughput
from benchmarks.orders.picture import as_svg
from benchmarks.orders.raw import raw_floors
from benchmarks.orders.sites import Say, Site, one_node, three_nodes
from benchmarks.orders.stage import stage
from sidecar.cli.process import run_to_end

RESULTS: Final = Path("build/bench.json")
PICTURE: Final = Path("build/orders_memory.svg")
COMPONENTS: Final = 4
PARTS: Final = ("latency", "throughput", "memory")
SITES: Final[dict[str, Callable[[Say], AbstractAsyncContextManager[Site]]]] = {"one": one_node, "three": three_nodes}
SHOWN: Final = ("ours", "floor", "ratio", "unit")
Figures = dict[str, dict[str, float | str]]


def say(line: str) -> None:
    """To whoever runs this."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def measure(site: Site, options: argparse.Namespace) -> Figures:
    """What was asked for, on one broker."""
    say(f"on {site.named}")
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="sidecar-orders-") as directory:
        async with raw_floors(site) as raw, stage(site, Path(directory), COMPONENTS) as components:
            if "latency" in options.parts:
                found |= await latency.measure(components[0], raw, options.rounds, options.orders, say)
            if "throughput" in options.parts:
                found |= await throughput.measure(components, raw, options.rounds, options.pipelined, say)
    return {f"{name}{site.suffix}": each for name, each in found.items()}


async def run(options: argparse.Namespace) -> Figures:
    """Each broker in turn."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # It warns of each channel that is closed at the end.
    results: Figures = {}
    for name in options.sites if set(options.parts) - {"memory"} else ():
        try:
            async with SITES[name](say) as site:
                results |= await measure(site, options)
        except ClusterFailed as error:
            say(f"not measured on three nodes: {error}")
    if "memory" in options.parts:
        results["orders_memory"], samples = await memory.measure(options.memory_orders, say)
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.write_text(as_svg(samples))
    return results


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; it ends the process, with a sentence, when they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orders", description=__doc__)
    parser.add_argument("--sites", default=",".join(SITES), help="brokers, of one, three (default: both)")
    parser.add_argument("--parts", default=",".join(PARTS), help="of latency, throughput, memory (default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--orders", type=int, default=300, help="orders in a round of latency")
    parser.add_argument("--pipelined", type=int, default=10_000, help="orders in a round of throughput")
    parser.add_argument("--memory-orders", type=int, default=2_800_000, help="orders over which memory is sampled")
    parser.add_argument("--short", action="store_true", help="a tenth of it, to see that it works")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, too")
    given = parser.parse_args(arguments)
    for name, known in (("sites", tuple(SITES)), ("parts", PARTS)):
        chosen = [each for each in getattr(given, name).split(",") if each]
        if unknown := sorted(set(chosen) - set(known)):
            parser.error(f"no such {name}: {', '.join(unknown)}")
        setattr(given, name, chosen)
    if min(given.rounds, given.orders, given.pipelined) < 1 or given.memory_orders < memory.SAMPLED_EACH:
        parser.error(f"the counts must be above zero, and --memory-orders at least {memory.SAMPLED_EACH}")
    if given.short:
        given.rounds, given.orders, given.pipelined, given.memory_orders = 2, 50, 2_000, 150_000
    return given


def main() -> None:
    """Measure, print, merge."""
    options = parse(sys.argv[1:])
    results = run_to_end(run(options))
    for name, each in results.items():
        more = "".join(
            f", {key} {value}" for key, value in each.items() if key not in ("ours", "floor", "ratio", "unit")
        )
        sys.stdout.write(
            f"{name}: ours {each['ours']} {each['unit']}, floor {each['floor']} {each['unit']}, "
            f"ratio {each['ratio']}{more}\n"
        )
    if options.json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
