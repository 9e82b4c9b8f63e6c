"""The latched halts on disk, so that they survive a restart of the sidecar (promise G2).

Owns one JSON file, replaced as a whole and synced before it counts. It must not know what a halt means.

Which way it fails: a file that cannot be read becomes a halt of this component, and is kept aside for people. Only an
operator's resume that names that halt opens the gate again.
"""

from pathlib import Path
from typing import Final

import msgspec
import structlog

from sidecar.agent.durable import replace_file
from sidecar.core.ladder import ControlMemory, unreadable

FILE_NAME: Final = "control.json"
_ASIDE: Final = "control.unreadable.json"
_DECODER: Final = msgspec.json.Decoder(ControlMemory)


class ControlStore:
    """One component's latched halts in `directory`, which must exist."""

    def __init__(self, directory: Path, component: str) -> None:
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
            replace_file(self._path, msgspec.json.encode(memory))
        except OSError as error:
            if self.unsaved is None:
                self._log.error("latched halts could not be written", file=str(self._path), error=str(error))
            self.unsaved = memory
        else:
            self.unsaved = None

    def _unreadable(self, why: str, run: str) -> ControlMemory:
        memory = unreadable(self._component, run, why)
        self._log.error(
            "the latched halts cannot be read: HALTED until an operator resumes",
            file=str(self._path),
            error=why,
            halt_id=memory.unconfirmed[0].halt_id,
        )
        try:
            self._path.replace(self._path.with_name(_ASIDE))
        except OSError as error:
            self._log.warning("the unreadable file could not be put aside", file=str(self._path), error=str(error))
        self.save(memory)
        return memory
