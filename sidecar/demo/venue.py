"""`python -m sidecar.demo.venue`: the simulated venue as a process of its own.

Owns the command line. The venue itself is `venue_server.py`.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sidecar.config.load import load_settings
from sidecar.config.models import Settings, TelemetrySettings
from sidecar.demo.process import address, rabbit_broker, run_until_signalled
from sidecar.demo.venue_behaviour import Behaviour
from sidecar.demo.venue_server import Venue, VenueOptions
from sidecar.telemetry.logs import configure_logs

DEFAULTS = Behaviour()


def parse(arguments: Sequence[str], telemetry: TelemetrySettings) -> VenueOptions:
    """The options in a command line; `telemetry` comes from the configuration file."""
    given = _parser().parse_args(arguments)
    return VenueOptions(
        name=given.name,
        host=given.listen[0],
        port=given.listen[1],
        behaviour=Behaviour(seed=given.seed, slow_ms=given.slow_ms, lost_percent=given.lost_percent),
        telemetry_host=telemetry.host,
        telemetry_port=telemetry.port,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sidecar.demo.venue", description="A simulated venue.")
    parser.add_argument("--listen", required=True, type=address, metavar="HOST:PORT", help="where sessions are taken")
    parser.add_argument("--config", type=Path, help="configuration file; its broker and telemetry sections are used")
    parser.add_argument("--name", default="SIM", help="the venue's name (default: SIM)")
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed, help="decides the fate of each ClOrdID")
    parser.add_argument("--slow-ms", type=int, default=DEFAULTS.slow_ms, help="how late slow orders are answered")
    parser.add_argument("--lost-percent", type=int, default=DEFAULTS.lost_percent, help="orders that vanish")
    return parser


async def _run(options: VenueOptions, settings: Settings) -> None:
    await run_until_signalled(Venue(options, rabbit_broker(settings.broker, f"venue-{options.name}")))


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    arguments = sys.argv[1:]
    settings = load_settings(_parser().parse_args(arguments).config, environ=os.environ)
    configure_logs(settings.telemetry.log_format, settings.telemetry.log_level, process="venue")
    asyncio.run(_run(parse(arguments, settings.telemetry), settings))


if __name__ == "__main__":
    main()
