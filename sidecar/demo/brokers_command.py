"""Run another program to its end: bounded, killed when we are cancelled, its failure told in its own last words.

Owns nothing but that. It must not know which programs there are.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping

LAST_WORDS = 400


class CommandFailed(Exception):
    """The program is missing, ran too long or ended with an error; the text quotes the end of what it printed."""


async def run_command(*command: str, timeout_s: float, environment: Mapping[str, str] | None = None) -> str:
    """What it printed on standard output. CommandFailed otherwise."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate()
    except TimeoutError as error:
        raise CommandFailed(f"{' '.join(command[:3])} did not end within {timeout_s:.0f} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        words = " ".join((errors or output).decode(errors="replace").split())[-LAST_WORDS:]
        raise CommandFailed(f"{' '.join(command[:3])} ended with {process.returncode}: {words}")
    return output.decode(errors="replace")
