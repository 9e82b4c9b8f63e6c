"""`broker.strict`: no process starts on a broker with a critical finding.

Owns the refusal. The findings are those of `sidecar doctor`.
"""

import asyncio

from sidecar.broker.examination import examine
from sidecar.broker.finding import critical
from sidecar.broker.users import Role
from sidecar.cli.errors import CliError, ExitCode
from sidecar.cli.graph import broker_question
from sidecar.config.models import Settings


def refuse_if_strict(settings: Settings, role: Role) -> None:
    """Return when the configuration is not strict or nothing is critical; CliError with every reason otherwise."""
    if not settings.broker.strict:
        return
    found = critical(asyncio.run(examine(broker_question(settings, role, starting=True))))
    if found:
        raise CliError(
            f"broker.strict: not started, because {'; '.join(found)}. `sidecar doctor` says how to mend it",
            ExitCode.BROKER,
        )
