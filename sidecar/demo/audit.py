"""The venue's own word on who sent what when, and what it says about one holder at a time.

Owns the reading of the audit over the venue's socket, and the check of promise G1 against it: of one account, orders of
an older token never arrive after orders of a newer one.
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from sidecar.messages.venue import VENUE_LINE_BYTES_MAX, AuditEntry, AuditPage, AuditQuery, VenueAnswer


async def read_audit(port: int, timeout_s: float = 5.0) -> list[AuditEntry]:
    """Everything that arrived at the venue on this port of the loopback interface, in order of arrival.

    Raises OSError, TimeoutError or ValueError when the venue does not answer as it should.
    """
    entries: list[AuditEntry] = []
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=VENUE_LINE_BYTES_MAX)
        try:
            while True:
                writer.write(msgspec.json.encode(AuditQuery(start=len(entries))) + b"\n")
                page = msgspec.json.decode(await reader.readline(), type=VenueAnswer)
                if not isinstance(page, AuditPage):
                    raise ValueError(f"the venue answered an audit with {type(page).__name__}")
                if not page.entries:
                    return entries
                entries += page.entries
        finally:
            writer.close()


def overlaps(entries: Sequence[AuditEntry]) -> list[str]:
    """Each arrival under an older token than the one before it, as a sentence; empty when holders never overlapped."""
    found = []
    for account in sorted({each.account for each in entries}):
        own = [each for each in entries if each.account == account]
        for before, after in pairwise(own):
            if after.token < before.token or (after.token == before.token and _owner(after) != _owner(before)):
                found.append(
                    f"{account}: {after.cl_ord_id} under token {after.token} of {after.component} arrived "
                    f"{(after.received_ns - before.received_ns) / 1e6:.3f} ms after {before.cl_ord_id} under "
                    f"{before.token} of {before.component}"
                )
    return found


def holders(entries: Iterable[AuditEntry]) -> str:
    """Who held, in the order of their tokens, with the number of their orders."""
    counts: dict[tuple[str, str], int] = {}
    for each in entries:
        key = (str(each.token), each.component)
        counts[key] = counts.get(key, 0) + 1
    return ", ".join(f"{component} under {token}: {count}" for (token, component), count in counts.items())


def _owner(entry: AuditEntry) -> tuple[str, str]:
    return entry.component, entry.run
