"""The measures that halts asked for, on disk, so that what is done is not asked for again after a restart.

Owns one JSON file. It must not know what a measure means. Which way it fails: what cannot be read or written is asked
for again, as long as its halt is latched; a measure must bear that.
"""

from pathlib import Path
from typing import Final

import msgspec
import structlog

from sidecar.agent.durable import replace_file
from sidecar.core.measure_run import KeptRun

FILE_NAME: Final = "measures.json"
_DECODER: Final = msgspec.json.Decoder(tuple[KeptRun, ...])


class MeasureStore:
    """One component's measures in `directory`, which must exist."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._failed = False
        self._log = structlog.get_logger(__name__)

    def load(self) -> tuple[KeptRun, ...]:
        """What was kept; nothing at the first start, and when the file cannot be read."""
        try:
            return _DECODER.decode(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._log.error("kept measures cannot be read: they begin again", file=str(self._path), error=str(error))
            return ()

    def save(self, runs: tuple[KeptRun, ...]) -> None:
        """Write and sync. A failure is said once; the next change tries again."""
        try:
            replace_file(self._path, msgspec.json.encode(runs))
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._log.error("measures could not be kept on disk", file=str(self._path), error=str(error))
            self._failed = True
