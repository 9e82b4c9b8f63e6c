"""A component beside its sidecar: hold a session, ask for each order, report what became of it.

Run it as the sidecar's child: `sidecar run --config sidecar.toml -- python examples/component.py`.
"""

import asyncio
import sys
from decimal import Decimal
from uuid import uuid4

from sidecar.client import OrderRefused, OrderRequest, SidecarClient


async def send_to_venue(cl_ord_id: str) -> str:
    """Your own gateway: send the order and return the venue's OrderID."""
    return f"venue-{cl_ord_id}"


async def main() -> None:
    """Trade once whenever the gate is open; ends with SessionLost when the sidecar goes."""
    async with SidecarClient() as sidecar, sidecar.session() as session:
        while True:
            await session.until_open()
            request = OrderRequest(
                cl_ord_id=uuid4().hex, account="A1", venue="SIM", symbol="XYZ", side="BUY", qty=Decimal(1)
            )
            try:
                async with sidecar.order(request) as ticket:
                    if session.gate.check(symbol="XYZ", venue="SIM", account="A1"):
                        await ticket.committed(await send_to_venue(ticket.cl_ord_id))
                    else:
                        await ticket.not_sent("the gate closed before the order left")
            except OrderRefused as refused:
                sys.stderr.write(f"not sent: {refused}\n")
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())
