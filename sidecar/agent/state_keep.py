"""The state that a component hands over to the next run of it: bytes with a version, kept on this host's disk.

Owns one file, replaced as a whole and synced before it counts, and the rule of versions. It must not know what the
bytes say, nor who may hand them over.

Which way it fails: a state that was answered as kept survives the death of every process here. One that could not be
written was not kept, and the one before it stays. A file that cannot be read is put aside and said, never handed on.
"""

import asyncio
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from sidecar.agent.durable import replace_file
from sidecar.messages.base import Token
from sidecar.messages.local import StateKept

FILE_NAME: Final = "state.bin"
_ASIDE: Final = "state.unreadable.bin"


class StaleVersion(Exception):
    """A version that does not go beyond the kept one; the text names both."""


class _Head(msgspec.Struct, frozen=True):
    """The first line of the file, in JSON; the bytes follow it."""

    kept: StateKept
    crc32: int


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A kept state and its bytes."""

    kept: StateKept
    body: bytes


class StateKeep:
    """One component's state in `directory`, which must exist. `trouble` says why the last one could not be read."""

    def __init__(self, directory: Path, component: str) -> None:
        self.trouble = ""
        self._path = directory / FILE_NAME
        self._component = component
        self._one_at_a_time = asyncio.Lock()
        self._log = structlog.get_logger(__name__)
        self.latest: HandedOver | None = self._load()

    async def keep(self, body: bytes, version: int, token: Token, incarnation: str, at_ns: int) -> StateKept:
        """Keep it and answer once it is on disk. Raises StaleVersion, or OSError when the disk refuses it.

        The same version with the same bytes is answered again, so that a caller may repeat itself.
        """
        async with self._one_at_a_time:
            latest = self.latest
            if latest is not None and version <= latest.kept.version:
                if (latest.kept.version, latest.body) == (version, body):
                    return latest.kept
                raise StaleVersion(f"version {version} is not above {latest.kept.version}, which is kept already")
            kept = StateKept(
                component=self._component,
                version=version,
                size=len(body),
                token=token,
                incarnation=incarnation,
                at_ns=at_ns,
            )
            head = msgspec.json.encode(_Head(kept, zlib.crc32(body)))
            await asyncio.to_thread(replace_file, self._path, head + b"\n" + body)
            self.latest = HandedOver(kept, body)
            return kept

    def _load(self) -> HandedOver | None:
        try:
            line, _, body = self._path.read_bytes().partition(b"\n")
            head = msgspec.json.decode(line, type=_Head)
            if (len(body), zlib.crc32(body)) == (head.kept.size, head.crc32):
                return HandedOver(head.kept, body)
            why = "its bytes are not those that were written"
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            why = f"{type(error).__name__}: {error}"
        self.trouble = f"the kept state could not be read and was put aside: {why}"
        self._log.error("the kept state cannot be read", file=str(self._path), error=why)
        try:
            self._path.replace(self._path.with_name(_ASIDE))
        except OSError as error:
            self._log.warning("the unreadable state could not be put aside", file=str(self._path), error=str(error))
        return None
