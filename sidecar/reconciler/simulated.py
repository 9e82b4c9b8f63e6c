"""The adapter of the simulated venue: JSON lines over TCP (`messages/venue.py`).

Owns one connection, made when it is needed and again after it broke. It must not interpret what the venue says.
"""

import asyncio
import contextlib
import uuid
from typing import Final

import msgspec

from sidecar.messages.orders import ExecutionReport
from sidecar.messages.venue import (
    VENUE_LINE_BYTES_MAX,
    CancelAllAfter,
    OrderFound,
    OrderNotFound,
    OrderQuery,
    TimerSet,
    VenueAnswer,
)
from sidecar.reconciler.adapter import NoAnswer, Offer, Unoffered, Wanted

Answer = OrderFound | OrderNotFound | TimerSet

_ANSWER: Final = msgspec.json.Decoder(VenueAnswer)


class SimulatedVenue(Unoffered):
    """Asks the simulated venue at `address` (host:port); each question takes at most `timeout_s`."""

    def __init__(self, address: str, timeout_s: float, *, account: str = "") -> None:
        self.account = account
        self._host, _, self._port = address.rpartition(":")
        self._timeout_s = timeout_s
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    @property
    def offers(self) -> frozenset[Offer]:
        """Targeted questions, and a timer."""
        return frozenset({"query", "timer"})

    async def query(self, wanted: Wanted) -> tuple[ExecutionReport, ...] | None:
        """See `VenueAdapter`."""
        cl_ord_id = wanted.cl_ord_id
        answer = await self._ask(OrderQuery(query_id=uuid.uuid4().hex, cl_ord_id=cl_ord_id))
        if isinstance(answer, TimerSet) or answer.cl_ord_id != cl_ord_id:
            raise NoAnswer(f"asked for {cl_ord_id}, answered for something else: {answer}")
        return answer.reports if isinstance(answer, OrderFound) else None

    async def arm_timer(self, after_ms: int) -> None:
        """See `VenueAdapter`."""
        asked = CancelAllAfter(query_id=uuid.uuid4().hex, account=self.account, after_ms=after_ms)
        answer = await self._ask(asked)
        if not isinstance(answer, TimerSet) or answer.after_ms != after_ms:
            raise NoAnswer(f"the timer was not set: {answer}")

    async def _ask(self, question: OrderQuery | CancelAllAfter) -> Answer:
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[question.query_id] = waiting
        try:
            async with asyncio.timeout(self._timeout_s):
                writer = await self._connected()
                writer.write(msgspec.json.encode(question) + b"\n")
                return await waiting
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {self._timeout_s:g} s") from error
        except (OSError, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        finally:
            del self._waiting[question.query_id]

    def forget(self) -> None:
        """Nothing is remembered."""

    async def close(self) -> None:
        """Close the connection; what waits for an answer gets NoAnswer."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._reading is None or self._reading.done():
                reader, self._writer = await asyncio.open_connection(
                    self._host.strip("[]"), int(self._port), limit=VENUE_LINE_BYTES_MAX
                )
                self._reading = asyncio.create_task(self._read(reader, self._writer), name="venue-answers")
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand out answers until the connection ends, one way or another; then nobody waits for it in vain."""
        trouble = "the venue closed the connection"
        try:
            while line := await reader.readline():
                answer = _ANSWER.decode(line)
                if isinstance(answer, Answer):
                    waiting = self._waiting.get(answer.query_id)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answer)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            trouble = f"the connection to the venue failed: {error}"
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionError(trouble))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
