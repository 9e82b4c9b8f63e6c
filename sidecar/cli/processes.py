"""`sidecar run`, `sidecar arbiter` and `sidecar reconcile`: the long-running processes.

Owns their command lines. It must not know how they work.
"""

from typing import Annotated

import typer

from sidecar.agent.process import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.examination import Examination
from sidecar.cli.archive import with_archive
from sidecar.cli.graph import broker_question, build_broker, read_settings
from sidecar.cli.options import ConfigOption
from sidecar.cli.process import run_process
from sidecar.cli.strict import refuse_if_strict
from sidecar.config.errors import ConfigError
from sidecar.reconciler.process import Reconciler


def run(
    config: ConfigOption = None,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND ARG...]",
            help="The component, started as a child with SIDECAR_SOCKET set; its end closes the gate and ends us.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """The sidecar of one component: heartbeats, lease, gate, local interface.

    Ends with the component's exit code when it was started here; SIGTERM closes the gate, then stops the component.
    """
    settings = read_settings(config)
    component = settings.component
    if component is None:
        raise ConfigError(
            'component.name: this field is required and missing; add [component] with name = "..." to the file, '
            "or set SIDECAR_COMPONENT__NAME"
        )
    refuse_if_strict(settings, "component")
    broker = build_broker(settings, f"sidecar {component.name}")
    examination = Examination(broker_question(settings, "component", starting=True))
    child = tuple(command or ())
    raise typer.Exit(
        run_process(
            settings.telemetry,
            lambda: Agent(settings, broker, child=child, examination=examination),
            role="sidecar",
            name=component.name,
        )
    )


def arbiter(config: ConfigOption = None) -> None:
    """One arbiter; run two or more, each with its own arbiter.id. One leads, the others stand by."""
    settings = read_settings(config)
    refuse_if_strict(settings, "arbiter")
    broker = build_broker(settings, f"arbiter {settings.arbiter.id}")
    examination = Examination(broker_question(settings, "arbiter", starting=True))
    raise typer.Exit(
        run_process(
            settings.telemetry,
            lambda: with_archive(settings, ArbiterProcess(settings, broker, examination=examination)),
            role="arbiter",
            name=settings.arbiter.id,
        )
    )


def reconcile(config: ConfigOption = None) -> None:
    """The reconciler: carries the venues' own word on orders to the arbiter."""
    settings = read_settings(config)
    refuse_if_strict(settings, "reconciler")
    broker = build_broker(settings, f"reconciler {settings.reconciler.id}")
    examination = Examination(broker_question(settings, "reconciler", starting=True))
    raise typer.Exit(
        run_process(
            settings.telemetry,
            lambda: Reconciler(settings, broker, examination=examination),
            role="reconciler",
            name=settings.reconciler.id,
        )
    )
