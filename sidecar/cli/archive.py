"""`sidecar archive`: the process that copies the journal into SQL; and the arbiter that does so beside its work.

Owns the command line and the putting together. It must not know how it works.
"""

import typer

from sidecar.arbiter.archive import ArbiterWithArchive, ArchiveProcess
from sidecar.arbiter.process import ArbiterProcess
from sidecar.cli.graph import archive_url, build_broker, read_settings
from sidecar.cli.options import ConfigOption
from sidecar.cli.process import Stoppable, run_process
from sidecar.config.models import Settings


def archive(config: ConfigOption = None) -> None:
    """Copy the journal into the archive, each entry once; `sidecar audit` reads it.

    Exit codes: 0 stopped; 1 stream and archive contradict each other; 2 wrong configuration.
    """
    settings = read_settings(config)
    url = archive_url(settings)
    broker, watch = build_broker(settings, "archive"), build_broker(settings, "archive, lag")
    raise typer.Exit(
        run_process(
            settings.telemetry,
            lambda: ArchiveProcess(settings, broker, watch, url),
            role="archive",
            name="archive",
        )
    )


def with_archive(settings: Settings, process: ArbiterProcess) -> Stoppable:
    """The arbiter as it is, or carrying the archive where `archive.in_arbiter` says so."""
    if not settings.archive.in_arbiter:
        return process
    broker, watch = build_broker(settings, "archive"), build_broker(settings, "archive, lag")
    return ArbiterWithArchive(settings, process, broker, watch, archive_url(settings))
