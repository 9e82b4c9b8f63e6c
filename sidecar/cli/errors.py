"""How a command ends: the exit codes, and errors as one plain sentence on stderr.

Owns the table below, which is also in docs/cli.md and in `sidecar --help`.
It must not know any command. A traceback is shown only with `--debug`; a URL's user and password are masked.
"""

import traceback
from enum import IntEnum
from typing import Any, Final

import typer
from typer.core import TyperGroup

from sidecar.broker.interface import BrokerError, TopologyConflict
from sidecar.client.operator import NoAnswer, Refused
from sidecar.config.errors import ConfigError
from sidecar.demo.brokers import BrokerNotFound
from sidecar.gate.layout import GateError
from sidecar.journal.archive_errors import ArchiveAway, ArchiveError
from sidecar.telemetry.logs import mask_credentials
from sidecar.telemetry.serving import CannotListen


class ExitCode(IntEnum):
    """What the caller of a command may rely on."""

    OK = 0
    NO = 1
    USAGE = 2
    BY_DEADLINE = 3
    UNKNOWN = 4
    JOURNAL = 5
    STATE_DIFFERS = 6
    JOURNAL_REPLACED = 7
    BROKER = 8
    INCOMPLETE = 9
    PROPOSED = 10
    DEFECT = 70


MEANINGS: Final = {
    ExitCode.OK: "done",
    ExitCode.NO: "the answer is no: refused, a critical finding, a step that did not happen",
    ExitCode.USAGE: "wrong command line or configuration",
    ExitCode.BY_DEADLINE: "halt and its kin: a silent holder's gate closes by its own deadline, which is printed",
    ExitCode.UNKNOWN: "the broker or the arbiter did not answer, so the outcome is unknown",
    ExitCode.JOURNAL: "arbiter: the journal has a record that this version does not know",
    ExitCode.STATE_DIFFERS: "arbiter, compare: an arbiter folded another state from the journal than the others",
    ExitCode.JOURNAL_REPLACED: "arbiter: the journal was replaced, or lacks a part",
    ExitCode.BROKER: "broker.strict: the broker has a critical finding, so the process did not start",
    ExitCode.INCOMPLETE: "kill, flatten, shutdown: the gates are closed, and measures are not complete",
    ExitCode.PROPOSED: "resume: proposed, and nothing is lifted until another operator asks for it too",
    ExitCode.DEFECT: "a defect of ours; run it again with --debug",
}
"""`sidecar run -- COMMAND` ends with the exit code of COMMAND, as a shell gives it."""


class CliError(Exception):
    """A command cannot do what was asked; the text is one sentence with the mend."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code


def code_of(error: Exception) -> ExitCode:
    """The exit code of an error, by its kind."""
    match error:
        case CliError(code=code):
            return code
        case ConfigError():
            return ExitCode.USAGE
        case TopologyConflict() | GateError() | CannotListen() | Refused() | OSError():
            return ExitCode.NO
        case BrokerError() | NoAnswer() | BrokerNotFound() | ArchiveAway():
            return ExitCode.UNKNOWN
        case ArchiveError():
            return ExitCode.NO
        case _:
            return ExitCode.DEFECT


def sentence_of(error: Exception) -> str:
    """The error in words."""
    if code_of(error) is ExitCode.DEFECT:
        return mask_credentials(f"unexpected {type(error).__name__}: {error}; --debug shows where")
    return mask_credentials(str(error))


class PlainErrors(TyperGroup):
    """The root of all commands: what they raise becomes a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Errors of the command line itself stay with Typer, which names the option."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            typer.echo(f"sidecar: {sentence_of(error)}", err=True)
            raise typer.Exit(code_of(error)) from error
