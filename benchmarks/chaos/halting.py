"""An operator who halts something small again and again, and lifts it again, through all faults.

Owns the halts and the ledger of what the arbiters said about them. The scopes are symbols that nobody trades: what is
tested is that a halt which was acknowledged is journaled, not that orders stop.
"""

import asyncio
from itertools import count
from typing import Final, NoReturn

from benchmarks.chaos.ledger import Entry, Ledger, Told
from benchmarks.failover.watch import boottime_ns
from sidecar.client.operator import NoAnswer, Operator
from sidecar.messages.control import TradingState

PAUSE_S: Final = 1.0
ANSWER_S: Final = 3.0
STANDING_MAX: Final = 32
"""Halts that may stand at once; an arbiter has room for 128. With so many, no new one is issued."""


class Halting:
    """Run `run` as a task; `standing` are halts that were issued and are not known to be lifted."""

    def __init__(self, operator: Operator, ledger: Ledger) -> None:
        self._operator = operator
        self._ledger = ledger
        self.standing: dict[str, None] = {}

    async def run(self) -> NoReturn:
        """Halt and lift, for ever."""
        for number in count():
            if len(self.standing) < STANDING_MAX:
                await self._halt(f"symbol:CHAOS-{number}")
            for halt_id in list(self.standing)[:2]:
                await self.lift(halt_id)
            await asyncio.sleep(PAUSE_S)
        raise AssertionError("count() ended")

    async def lift(self, halt_id: str) -> bool:
        """Whether the arbiter says that it is lifted."""
        try:
            result = await self._operator.resume(halt_id, "chaos goes on", timeout_s=ANSWER_S)
        except NoAnswer:
            return False
        if result.ok:
            self._note("resumed", halt_id)
            self.standing.pop(halt_id, None)
        elif "was lifted already" in result.text:
            self.standing.pop(halt_id, None)
        return result.ok

    async def _halt(self, scope: str) -> None:
        progress = await self._operator.halt((scope,), TradingState.HALTED, "chaos", timeout_s=ANSWER_S)
        self.standing[progress.halt.halt_id] = None
        if progress.journaled is not None and progress.journaled.ok:
            self._note("halted", progress.halt.halt_id)

    def _note(self, told: Told, halt_id: str) -> None:
        self._ledger.note(Entry(at_ns=boottime_ns(), by="operator", told=told, key=halt_id))
