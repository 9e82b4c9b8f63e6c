"""Writing generated files: `sidecar schemas export` and `sidecar topology export`.

Owns the writing. It deletes nothing: a test compares, and names what is stale.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.output import console

DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Made if need be; files are replaced.")]


def write_files(directory: Path, files: Mapping[str, str]) -> None:
    """Write each text to its path below `directory`."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    console(stderr=True).print(f"{len(files)} files written to {directory}", markup=False)
