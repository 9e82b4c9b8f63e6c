"""How the reconciler asks a venue: the small interface behind which every venue's own protocol stays.

Owns the questions and their answers. It must not know any venue. An adapter offers what its venue has (`offers`); what
it does not offer is never asked.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Protocol

from sidecar.messages.orders import ExecutionReport
from sidecar.messages.reconcile import Market

Offer = Literal["query", "open_orders", "fills", "positions", "balances", "timer"]
REPORTS_MAX: Final = 2_000
"""Reports that one check hands over; the rest comes with the next one."""


class NoAnswer(Exception):
    """The venue could not be asked or did not answer in time: nothing is known, and nothing may be concluded."""


class Wanted(NamedTuple):
    """The order that is asked for; `symbol` and `order_id` are empty where they are not known."""

    cl_ord_id: str
    symbol: str = ""
    order_id: str = ""


class Holding(NamedTuple):
    """How much of something an account holds by the venue's word: of a symbol (negative is short), or of an asset."""

    name: str
    qty: Decimal


class VenueAdapter(Protocol):
    """One account at one venue. Several questions may be under way at once; each raises NoAnswer, within its timeout.

    `account` is the account as our orders name it; empty where the venue's own reports do.
    """

    account: str

    @property
    def offers(self) -> frozenset[Offer]:
        """What can be asked."""

    async def query(self, wanted: Wanted) -> tuple[ExecutionReport, ...] | None:
        """Every execution report of this order, oldest first; None when the venue says it never received it.

        None is only for an authoritative, targeted answer.
        """

    async def open_orders(self) -> Sequence[ExecutionReport]:
        """One report on each order that is open now. An order that is missing here proves nothing."""

    async def fills(self, since_ms: int) -> Sequence[ExecutionReport]:
        """Every execution since then (milliseconds since 1970), with what belongs to the same orders; oldest first."""

    async def positions(self) -> Sequence[Holding]:
        """All positions; a symbol that is not named is flat."""

    async def balances(self) -> Sequence[Holding]:
        """All balances in total; an asset that is not named is zero."""

    def markets(self) -> Sequence[Market]:
        """The currencies of symbols that were traded, as far as they are known; asks nobody."""

    async def arm_timer(self, after_ms: int) -> None:
        """Have the venue cancel every order of the account after this long, unless armed again; 0 disarms."""

    def forget(self) -> None:
        """What was answered last was not handed over: answer it again."""

    async def close(self) -> None:
        """Let go of the connection."""


class Unoffered:
    """What an adapter that does not offer a question answers to it."""

    async def open_orders(self) -> Sequence[ExecutionReport]:
        """See `VenueAdapter`."""
        raise NoAnswer("this venue is not asked for open orders")

    async def fills(self, since_ms: int) -> Sequence[ExecutionReport]:
        """See `VenueAdapter`."""
        raise NoAnswer("this venue is not asked for fills")

    async def positions(self) -> Sequence[Holding]:
        """See `VenueAdapter`."""
        raise NoAnswer("this venue is not asked for positions")

    async def balances(self) -> Sequence[Holding]:
        """See `VenueAdapter`."""
        raise NoAnswer("this venue is not asked for balances")

    def markets(self) -> Sequence[Market]:
        """See `VenueAdapter`."""
        return ()

    async def arm_timer(self, after_ms: int) -> None:
        """See `VenueAdapter`."""
        raise NoAnswer("this venue has no timer")
