"""Writes the gate page: the sidecar's side.

Owns the file and the order of the stores. It must not decide what the page says.

Which way it fails: a write that closes or shortens takes effect with one of its first two stores, before anything else
is touched. A write that only extends leaves the earlier promise standing until its last store; if the writer is killed
in between, that promise ends at its own deadline, as it would have without the write. A page that cannot be encoded is
written as closed, and only then is the error raised.
"""

import fcntl
import mmap
import os
import stat
from pathlib import Path
from typing import Final

from sidecar.core.page import CLOSED, Page
from sidecar.gate.host import boot_id, refuse_other_byte_orders
from sidecar.gate.layout import (
    BODY_OFFSET,
    CHECKSUM_WORD,
    LAYOUT_VERSION,
    MAGIC,
    MAGIC_WORD,
    OPEN_UNTIL_WORD,
    PAGE_BYTES,
    SEQUENCE_WORD,
    VERSION_WORD,
    GateError,
    encode,
    open_until_ns,
)

CLAIM_TRIES_MAX: Final = 8


class GateWriter:
    """The one writer of the page at `path`, closed until `write` says otherwise.

    An existing page of this layout is taken over in place, so that readers keep their mapping; anything else of ours at
    `path` is replaced. Raises GateError when another writer holds the page or the file is not ours.
    """

    def __init__(self, path: Path) -> None:
        refuse_other_byte_orders()
        self._boot_id = boot_id()
        self._fd = _claim(path, self._boot_id)
        self._map = mmap.mmap(self._fd, PAGE_BYTES)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")
        self.write(CLOSED)

    def write(self, page: Page) -> None:
        """Make the page say this. Raises GateError, with the page closed, when it cannot be said."""
        words = self._words
        done = (words[SEQUENCE_WORD] | 1) + 1
        try:
            image, until_ns = encode(page, done, self._boot_id), open_until_ns(page)
        except Exception:
            self._store(encode(CLOSED, done, self._boot_id), 0, done)
            raise
        self._store(image, until_ns, done)

    def close(self) -> None:
        """Leave the page closed, and the file for readers that have it mapped. Safe to call twice."""
        if self._fd < 0:
            return
        self.write(CLOSED)
        self._words.release()
        self._bytes.release()
        self._map.close()
        os.close(self._fd)
        self._fd = -1

    def _store(self, image: bytes, until_ns: int, done: int) -> None:
        words = self._words
        words[SEQUENCE_WORD] = done - 1
        words[OPEN_UNTIL_WORD] = min(words[OPEN_UNTIL_WORD], until_ns)
        self._bytes[BODY_OFFSET + 8 : len(image)] = image[BODY_OFFSET + 8 :]
        words[CHECKSUM_WORD] = int.from_bytes(image[CHECKSUM_WORD * 8 : BODY_OFFSET], "little")
        words[SEQUENCE_WORD] = done
        words[OPEN_UNTIL_WORD] = until_ns


def _claim(path: Path, boot: bytes) -> int:
    """An open, locked descriptor of a page of this layout at `path`."""
    for _ in range(CLAIM_TRIES_MAX):
        fd = _open_existing(path)
        if fd is None:
            fd = _create(path, boot)
        if fd is not None:
            return fd
    raise GateError(f"the gate page {path} keeps being replaced by somebody else: stop the other sidecar")


def _open_existing(path: Path) -> int | None:
    """The page at `path`, locked; None when there is none, or one of another layout, which is then removed."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GateError(
            f"the gate page {path} cannot be opened ({error.strerror}): remove it or set component.gate"
        ) from None
    try:
        _refuse_strangers(path, fd)
        _lock(path, fd)
        if _is_page(fd) and _is_at(path, fd):
            return fd
        if _is_at(path, fd):
            path.unlink(missing_ok=True)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _create(path: Path, boot: bytes) -> int | None:
    """A new closed page at `path`, locked, complete before it has its name; None when somebody was faster."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    try:
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise GateError(f"the gate page {path} cannot be made ({error.strerror}): set component.gate") from None
    try:
        os.fchmod(fd, 0o644)
        os.write(fd, encode(CLOSED, 2, boot).ljust(PAGE_BYTES, b"\0"))
        _lock(fresh, fd)
        os.link(fresh, path)
    except FileExistsError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    finally:
        fresh.unlink(missing_ok=True)
    return fd


def _refuse_strangers(path: Path, fd: int) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise GateError(
            f"the gate page {path} is not a file of this user (uid {found.st_uid}): remove it or set component.gate"
        )


def _lock(path: Path, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise GateError(
            f"the gate page {path} has a writer already: stop the other sidecar or set component.gate"
        ) from None


def _is_page(fd: int) -> bool:
    head = memoryview(os.pread(fd, 16, 0).ljust(16, b"\0")).cast("Q")
    return os.fstat(fd).st_size == PAGE_BYTES and (head[MAGIC_WORD], head[VERSION_WORD]) == (MAGIC, LAYOUT_VERSION)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
