"""The latched halts on disk, so that they survive a restart of the sidecar (promise G2).

Owns one JSON file, replaced as a whole and synced before it counts. It must not know what a halt means.

Which way it fails: a file that cannot be read becomes a halt of this component, and is kept aside for people. Only an
operator's resume that names that halt opens the gate again.
"""

import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from sidecar.core.ladder import ControlMemory
from sidecar.messages.control import Halt, TradingState

FILE_NAME: Final = "control.json"
_ASIDE: Final = "control.unreadable.json"
_DECODER: Final = msgspec.json.Decoder(ControlMemory)


class ControlStore:
    """One component's latched halts in `directory`, which must exist."""

    def __init__(self, directory: Path, component: str) -> None:
        self._directory = directory
        self._path = directory / FILE_NAME
        self._component = component
        self._log = structlog.get_logger(__name__)
        self.unsaved: ControlMemory | None = None

    def load(self, run: str) -> ControlMemory:
        """What was latched; nothing at the first start; a halt of this component when the file cannot be read.

        `run` makes the identity of such a halt unique.
        """
        try:
            return _DECODER.decode(self._path.read_bytes())
        except FileNotFoundError:
            return ControlMemory()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._unreadable(f"{type(error).__name__}: {error}", run)

    def save(self, memory: ControlMemory) -> None:
        """Write and sync. A failure is said and kept in `unsaved`: the gate is closed already, and stays so."""
        try:
            self._replace(msgspec.json.encode(memory))
        except OSError as error:
            if self.unsaved is None:
                self._log.error("latched halts could not be written", file=str(self._path), error=str(error))
            self.unsaved = memory
        else:
            self.unsaved = None

    def _replace(self, body: bytes) -> None:
        fresh = self._path.with_suffix(".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(fd)
        fresh.replace(self._path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # The new name counts only once its directory is on disk (fsync(2)).
        finally:
            os.close(directory)

    def _unreadable(self, why: str, run: str) -> ControlMemory:
        halt = Halt(
            halt_id=f"unreadable-{self._component}-{run}",
            scopes=(f"component:{self._component}",),
            level=TradingState.HALTED,
            reason=f"the file of latched halts could not be read ({why})"[:256],
            actor=self._component,
            reducing_allowed=False,
        )
        self._log.error(
            "the latched halts cannot be read: HALTED until an operator resumes",
            file=str(self._path),
            error=why,
            halt_id=halt.halt_id,
        )
        try:
            self._path.replace(self._path.with_name(_ASIDE))
        except OSError as error:
            self._log.warning("the unreadable file could not be put aside", file=str(self._path), error=str(error))
        memory = ControlMemory(unconfirmed=(halt,))
        self.save(memory)
        return memory
