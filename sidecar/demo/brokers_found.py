"""What a search for a broker ends with: a broker that answers, or the reason why one way led nowhere.

Owns the words that the ways share. It must not know any way.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Say = Callable[[str], None]


class WayClosed(Exception):
    """This way to a broker cannot be taken, or was tried and failed; the text says why. The next way is tried."""


async def leave_running() -> None:
    """Stop nothing: the broker is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBroker:
    """A broker that answers at `url`. `started_by` names the way it was found; `version` is its own word."""

    url: str
    started_by: str
    version: str
    stop_what_we_started: Callable[[], Awaitable[None]] = leave_running

    async def stop(self) -> None:
        """Stop and remove everything that was started for it. Safe to call twice."""
        await self.stop_what_we_started()


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a broker: its name and the attempt. The attempt raises WayClosed, leaving nothing behind."""

    name: str
    attempt: Callable[[Say], Awaitable[FoundBroker]]
