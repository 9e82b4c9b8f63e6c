"""How the reconciler asks a venue: the small interface behind which every venue's own protocol stays.

Owns the question and its three answers. It must not know any venue.
"""

from typing import Protocol

from sidecar.messages.orders import ExecutionReport


class NoAnswer(Exception):
    """The venue could not be asked or did not answer in time: nothing is known, and nothing may be concluded."""


class VenueAdapter(Protocol):
    """One venue. Several questions may be under way at once."""

    async def query(self, cl_ord_id: str) -> tuple[ExecutionReport, ...] | None:
        """Every execution report of this order, oldest first; None when the venue says it never received it.

        None is only for an authoritative, targeted answer. Raises NoAnswer, within the adapter's own timeout.
        """

    async def close(self) -> None:
        """Let go of the connection."""
