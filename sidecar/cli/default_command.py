"""A group that has one command for whoever names none: `sidecar limits` is `sidecar limits show`.

Owns that one rule. It must not know any command.
"""

from typing import Any

from typer.core import TyperGroup


def falling_back_to(name: str) -> type[TyperGroup]:
    """A group whose command `name` is meant where the first word is an option, or there is none."""

    class FallsBack(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            """Put the name of the command before options that are not the group's own."""
            if not args or (args[0].startswith("-") and args[0] not in ("--help", "-h")):
                args = [name, *args]
            return super().parse_args(ctx, args)

    return FallsBack
