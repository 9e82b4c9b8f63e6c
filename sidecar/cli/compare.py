"""`sidecar compare`: have every arbiter hash its folded state behind one record of the journal, now.

Owns the command, and when the answers are enough. What it prints is what the leader heard from each arbiter.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from sidecar.cli.errors import CliError, ExitCode
from sidecar.cli.operator import ask_one
from sidecar.cli.options import ActorOption, ConfigOption, JsonOption, TimeoutOption
from sidecar.cli.output import console, print_json
from sidecar.cli.status_view import arbiters_view
from sidecar.client.operator import Operator
from sidecar.messages.arbiters import ArbiterStatus

LOOK_AGAIN_S: Final = 0.2
HEARD_NS: Final = 5_000_000_000
"""An arbiter that was silent for longer is not waited for: it does not run, and its row says since when."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What each arbiter told. `offset` is that of the record behind which they hashed, or -1 while nobody has."""

    offset: int
    arbiters: tuple[ArbiterStatus, ...]

    @property
    def waiting(self) -> tuple[str, ...]:
        """Arbiters that run and have not told their digest of that record."""
        running = (each for each in self.arbiters if each.silent_ns < HEARD_NS)
        return tuple(each.arbiter for each in running if self.offset < 0 or each.digest_offset < self.offset)

    @property
    def digests(self) -> frozenset[str]:
        """The different digests of the state behind that record; one, when all is well."""
        return frozenset(each.digest for each in self.arbiters if each.digest_offset == self.offset >= 0)


def compared(arbiters: tuple[ArbiterStatus, ...], before: int) -> Compared:
    """What is told of the first mark behind the one at offset `before`."""
    offset = min((each.digest_offset for each in arbiters if each.digest_offset > before), default=-1)
    return Compared(offset, arbiters)


def compare(
    config: ConfigOption = None,
    actor: ActorOption = "",
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 10.0,
) -> None:
    """All arbiters hash their state behind one record of the journal, and their digests are compared.

    The same happens by itself at each snapshot. Exit codes: 0 all the same; 1 refused; 4 not all answered in time;
    6 an arbiter's state differs from that of the others (it ends by itself with the same code).
    """
    found = ask_one(lambda operator: _ask(operator, timeout_s), config, timeout_s, actor=actor)
    if as_json:
        print_json(found.arbiters)
    else:
        console().print(arbiters_view(found.arbiters))
    if len(found.digests) > 1:
        raise CliError(
            f"the states behind offset {found.offset} differ: see the arbiters' logs", ExitCode.STATE_DIFFERS
        )
    if found.waiting:
        names = ", ".join(found.waiting)
        raise CliError(f"{names} told no digest within {timeout_s:g} s: ask again, see the logs", ExitCode.UNKNOWN)


async def _ask(operator: Operator, timeout_s: float) -> Compared:
    loop = asyncio.get_running_loop()
    until_s = loop.time() + timeout_s
    before = max((each.digest_offset for each in (await operator.status(timeout_s=timeout_s)).arbiters), default=-1)
    result = await operator.compare(timeout_s=timeout_s)
    if not result.ok:
        raise CliError(result.text, ExitCode.NO)
    while True:
        found = compared((await operator.status(timeout_s=timeout_s)).arbiters, before)
        if loop.time() > until_s or len(found.digests) > 1 or (found.digests and not found.waiting):
            return found
        await asyncio.sleep(LOOK_AGAIN_S)
