"""The examples, run as children of a sidecar."""

import shutil
import sys
from pathlib import Path

import pytest
from sidecar_world import world

from sidecar.messages.orders import OrderCommitted, OrderIntent

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_python_example_trades() -> None:
    """The Python example is granted an order and reports it committed."""
    async with world() as here, here.sidecar(child=[sys.executable, str(EXAMPLES / "component.py")]):
        committed = await here.arbiter.saw(OrderCommitted)
        assert committed.order_id == f"venue-{committed.cl_ord_id}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example needs curl")
async def test_curl_example_trades() -> None:
    """The curl example is granted an order, reports it committed and ends well."""
    async with world() as here, here.sidecar(child=["sh", str(EXAMPLES / "component.sh")]):
        assert await here.ended() == 0
        assert (await here.arbiter.saw(OrderCommitted)).order_id == "venue-1"
        assert (await here.arbiter.saw(OrderIntent)).symbol == "XYZ"
