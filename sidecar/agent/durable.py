"""A small file that is replaced as a whole and synced before it counts. Owns nothing but that."""

import os
from pathlib import Path


def replace_file(path: Path, body: bytes) -> None:
    """Have `path` hold `body`, for this user only, or what it held before. OSError when it cannot be written."""
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(fd)
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # The new name counts only once its directory is on disk (fsync(2)).
    finally:
        os.close(directory)
