"""The examples, run as children of a sidecar."""

import shutil
import subprocess
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


async def test_c_example_trades(tmp_path: Path) -> None:
    """The example in plain C compiles, is granted an order, asks its gate, reports it committed and ends well."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    program = tmp_path / "trading"
    strict = ("-O2", "-Wall", "-Wextra", "-Werror")
    subprocess.run([compiler, *strict, "-o", program, EXAMPLES / "c/trading.c"], check=True)
    async with world() as here, here.sidecar(child=[str(program)]):
        assert await here.ended() == 0
        assert (await here.arbiter.saw(OrderCommitted)).order_id == "venue-1"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example needs curl")
async def test_curl_example_trades() -> None:
    """The curl example is granted an order, reports it committed and ends well."""
    async with world() as here, here.sidecar(child=["sh", str(EXAMPLES / "component.sh")]):
        assert await here.ended() == 0
        assert (await here.arbiter.saw(OrderCommitted)).order_id == "venue-1"
        assert (await here.arbiter.saw(OrderIntent)).symbol == "XYZ"
