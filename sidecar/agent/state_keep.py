"""The states of a group's slots on this host's disk: bytes with a version, of our component or of another's.

Owns one file for each slot, replaced as a whole and synced before it counts, and the rule of versions. It must not know
what the bytes say, how they came, nor who may hand them over.

Which way it fails: a state that was answered as kept survives the death of every process here. One that could not be
written was not kept, and the one before it stays. A file that cannot be read is put aside and said, never handed on. A
state of our own component that a later holder's goes beyond without knowing it (a lower version under a higher token)
is put aside too: nobody took it over, and a person may want it.
"""

import asyncio
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
import structlog

from sidecar.agent.durable import replace_file
from sidecar.messages.base import Token
from sidecar.messages.local import StateKept

_UNREADABLE: Final = "unreadable"
_SUPERSEDED: Final = "superseded"


class StaleVersion(Exception):
    """A version that does not go beyond the kept one; the text names both."""


class Torn(Exception):
    """A state is not what its hash says."""


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
    """The states in `directory`, which must exist, of one sidecar. `trouble` says which one could not be read.

    `kept` are the states without their bytes, by slot; earlier versions knew no slots, and theirs is under "".
    """

    def __init__(self, directory: Path, component: str) -> None:
        self.trouble = ""
        self.kept: dict[str, StateKept] = {}
        self._directory = directory
        self._component = component
        self._one_at_a_time = asyncio.Lock()
        self._log = structlog.get_logger(__name__)
        for path in sorted(directory.glob("state*.bin")):
            found = self._load(path)
            if found is not None:
                self.kept[found.kept.slot] = found.kept

    def of(self, slot: str) -> StateKept | None:
        """What is kept of a slot's state."""
        return self.kept.get(slot) or self.kept.get("")

    @property
    def only(self) -> StateKept | None:
        """The one that is kept, where it is one."""
        return next(iter(self.kept.values())) if len(self.kept) == 1 else None

    async def read(self, slot: str) -> HandedOver | None:
        """A slot's state; None without one, or when it is damaged (`trouble`)."""
        async with self._one_at_a_time:
            kept = self.of(slot)
            if kept is None:
                return None
            found = await asyncio.to_thread(self._load, self._path(kept.slot))
            if found is None:
                del self.kept[kept.slot]
            return found

    async def hand_over(
        self, slot: str, body: bytes, version: int, token: Token, incarnation: str, at_ns: int
    ) -> StateKept:
        """Keep our own component's and answer once it is on disk. Raises StaleVersion, or OSError of the disk.

        The same version with the same bytes is answered again, so that a caller may repeat itself.
        """
        async with self._one_at_a_time:
            before = self.of(slot)
            if before is not None and version <= before.version:
                if version == before.version and await asyncio.to_thread(self._is, before, body):
                    return before
                raise StaleVersion(f"version {version} is not above {before.version}, which is kept already")
            kept = StateKept(
                component=self._component,
                slot=slot,
                version=version,
                size=len(body),
                token=token,
                incarnation=incarnation,
                at_ns=at_ns,
            )
            await asyncio.to_thread(self._write, kept, body)
            self.kept[slot] = kept
            return kept

    async def take_over(self, kept: StateKept, body: bytes, sha256: str) -> None:
        """Keep one that another sidecar sent. Raises Torn, or OSError when the disk refuses it."""
        async with self._one_at_a_time:
            before = self.kept.get(kept.slot)
            aside = before is not None and before.component == self._component and before.version >= kept.version
            await asyncio.to_thread(self._check_and_write, kept, body, sha256, aside)
            self.kept[kept.slot] = kept
            if aside and before is not None:
                self._log.warning(
                    "a state of ours that nobody took over was put aside",
                    slot=kept.slot,
                    version=before.version,
                    token=str(before.token),
                    by=kept.component,
                )

    # --- inside, in a thread ---

    def _path(self, slot: str, aside: str = "") -> Path:
        name = f"state-{quote(slot, safe='')}.bin" if slot else "state.bin"
        return self._directory / (f"{aside}-{name}" if aside else name)

    def _check_and_write(self, kept: StateKept, body: bytes, sha256: str, aside: bool) -> None:
        if len(body) != kept.size or hashlib.sha256(body).hexdigest() != sha256:
            raise Torn(f"version {kept.version} of {kept.slot} is not what its hash says")
        if aside:
            superseded = self._path(kept.slot, _SUPERSEDED)
            superseded.unlink(missing_ok=True)
            os.link(self._path(kept.slot), superseded)
        self._write(kept, body)

    def _write(self, kept: StateKept, body: bytes) -> None:
        head = msgspec.json.encode(_Head(kept, zlib.crc32(body)))
        replace_file(self._path(kept.slot), head + b"\n" + body)

    def _is(self, kept: StateKept, body: bytes) -> bool:
        found = self._load(self._path(kept.slot))
        return found is not None and found.body == body

    def _load(self, path: Path) -> HandedOver | None:
        try:
            line, _, body = path.read_bytes().partition(b"\n")
            head = msgspec.json.decode(line, type=_Head)
            if (len(body), zlib.crc32(body)) == (head.kept.size, head.crc32) and path == self._path(head.kept.slot):
                return HandedOver(head.kept, body)
            why = "its bytes are not those that were written"
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            why = f"{type(error).__name__}: {error}"
        self.trouble = f"the kept state could not be read and was put aside: {path.name}: {why}"
        self._log.error("the kept state cannot be read", file=str(path), error=why)
        try:
            path.replace(path.with_name(f"{_UNREADABLE}-{path.name}"))
        except OSError as error:
            self._log.warning("the unreadable state could not be put aside", file=str(path), error=str(error))
        return None
