"""Bad input at a running sidecar, from the broker and from its component: contained, counted, answered."""

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest
from sidecar_world import ARBITER, PATIENCE_S, World, world

from sidecar.agent.problems import BODY_BYTES_MAX
from sidecar.broker.topology import CONTROL
from sidecar.client import OrderDenied, OrderGranted, OrderRequest, SidecarClient
from sidecar.messages.base import WIRE_BYTES_MAX
from sidecar.messages.codec import encode
from sidecar.messages.control import Halt, StatusRequest, TradingState
from sidecar.messages.health import Heartbeat

NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
ORDER = {"ClOrdID": "c-1", "account": "A1", "venue": "SIM", "symbol": "XYZ", "side": "BUY", "qty": "1"}
HALT = Halt(halt_id="h", scopes=("all",), level=TradingState.HALTED, reason="", actor=ARBITER)
BAD: dict[str, tuple[bytes, str, str]] = {
    "not-json": (b"\xff\xfe", "halt.v1", ARBITER),
    "unknown-type": (b"{}", "no-such.v9", ARBITER),
    "too-large": (b" " * (WIRE_BYTES_MAX + 1), "halt.v1", ARBITER),
    "wrong-field": (b'{"type":"halt.v1","halt_id":7}', "halt.v1", ARBITER),
    "wrong-sender": (encode(HALT), "halt.v1", "somebody-else"),
}


@pytest.mark.parametrize("code", BAD)
async def test_bad_message_is_a_dead_letter(code: str) -> None:
    """A bad message is put away with its reason and counted, and the gate stays as it was."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        body, kind, app_id = BAD[code]
        here.arbiter.send_raw(CONTROL, "", body, kind, app_id)
        dead = await here.arbiter.buried()
        assert dead.headers["reason-code"] == code
        assert session.gate.check()
        assert f'sidecar_dead_letters_total{{code="{code}"}} 1.0' in await metrics(here)


async def test_message_for_others_is_a_dead_letter() -> None:
    """A message that is no business of a sidecar is put away."""
    async with world() as here, here.sidecar() as client:
        here.arbiter.send(CONTROL, "", StatusRequest(request_id="r", actor="ops"), app_id="ops")
        await here.arbiter.buried()
        assert (await client.status()).healthy


async def test_halt_without_meaning_is_a_dead_letter() -> None:
    """A halt whose scope names nothing is put away with the mend."""
    async with world() as here, here.sidecar() as client:
        here.arbiter.halt("galaxy:far-away")
        dead = await here.arbiter.buried()
        assert "KIND:NAME" in str(dead.headers["reason-text"])
        assert not (await client.status()).halts


async def metrics(here: World) -> str:
    """GET /metrics on the local interface."""
    async with http(here) as raw:
        return (await raw.get("/metrics")).text


def http(here: World) -> httpx.AsyncClient:
    """A client that says what it is told."""
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=here.socket, verify=False, limits=NO_LIMITS),
        base_url="http://sidecar",
        timeout=PATIENCE_S,
    )


WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("/v1/orders", {**ORDER, "side": "LEFT"}, "side"),
    ("/v1/orders", {**ORDER, "qty": "NaN"}, "qty"),
    ("/v1/orders", {**ORDER, "qty": "-1"}, "qty"),
    ("/v1/orders", {**ORDER, "qty": "many"}, "qty"),
    ("/v1/orders", {**ORDER, "price": "Infinity"}, "price"),
    ("/v1/orders", {**ORDER, "symbol": ""}, "symbol"),
    ("/v1/orders", {**ORDER, "strategy": "s" * 300}, "strategy"),
    ("/v1/orders", {**ORDER, "ClOrdID": "a/b"}, "ClOrdID"),
    ("/v1/orders", {**ORDER, "kind": "CANCEL"}, "OrigClOrdID"),
    ("/v1/orders", {**ORDER, "kind": "REPLACE"}, "OrigClOrdID"),
    ("/v1/orders", {**ORDER, "kind": "TRANSFER", "to_account": ORDER["account"]}, "to_account"),
    ("/v1/orders", {**ORDER, "qty": "0"}, "qty"),
    ("/v1/orders", {"account": "A1"}, "ClOrdID"),
    ("/v1/orders/c-1/report", {"outcome": "committed"}, "OrderID"),
    ("/v1/orders/c-1/report", {"outcome": "unknown"}, "reason"),
    ("/v1/orders/c-1/report", {"outcome": "perhaps"}, "outcome"),
    ("/v1/orders/%01/report", {"outcome": "unknown", "reason": "r"}, "ClOrdID"),
    ("/v1/health", {"reasons": ["r"] * 100}, "reasons"),
    ("/v1/health", {"metrics": {f"m{number}": 1.0 for number in range(100)}}, "metrics"),
    ("/v1/halt", {"scopes": ["galaxy:x"], "reason": "r"}, "scope"),
    ("/v1/halt", {"scopes": [], "reason": "r"}, "scopes"),
)


async def test_wrong_field_is_named() -> None:
    """A wrong field is answered with 400, its name and a mend."""
    async with world() as here, here.sidecar(), http(here) as raw:
        for path, body, field in WRONG:
            answer = await raw.post(path, content=json.dumps(body))
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (400, "WRONG_FIELD"), (path, body, problem)
            assert field in problem["text"]
            assert problem["mend"]


async def test_other_refusals_are_problems() -> None:
    """What is not JSON, too large, or at no path of ours is answered with a problem too."""
    async with world() as here, here.sidecar(), http(here) as raw:
        cases = [
            (await raw.post("/v1/orders", content=b"{"), 400, "NOT_JSON"),
            (await raw.post("/v1/orders", content=b"\xff"), 400, "NOT_JSON"),
            (await raw.post("/v1/orders", content=b" " * (BODY_BYTES_MAX + 1)), 413, "TOO_LARGE"),
            (await raw.get("/v1/nothing"), 404, "NO_SUCH_PATH"),
            (await raw.get("/v1/orders"), 405, "NO_SUCH_METHOD"),
            (await raw.post("/v1/session"), 405, "NO_SUCH_METHOD"),
        ]
        for answer, status_code, code in cases:
            assert (answer.status_code, answer.json()["code"]) == (status_code, code)
            assert answer.json()["text"]


async def test_endless_body_is_cut_short() -> None:
    """A body without a length is refused once it is too large, wherever it would have ended."""

    async def endless() -> Any:
        while True:
            yield b"x" * 8192

    async with world() as here, here.sidecar() as client, http(here) as raw:
        try:
            answer = await raw.post("/v1/orders", content=endless())
        except httpx.TransportError:
            pass  # The sidecar may hang up before the answer is read.
        else:
            assert answer.status_code == 413
        assert (await client.status()).healthy


async def test_garbage_harms_nobody() -> None:
    """A peer that does not speak HTTP is dropped while the session goes on."""
    async with world() as here, here.sidecar() as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        for garbage in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"POST /v1/orders HTTP/9.9\r\n\r\n", b"A" * 100_000):
            reader, writer = await asyncio.open_unix_connection(here.socket)
            writer.write(garbage)
            writer.write_eof()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await reader.read()
            except ConnectionError:
                pass  # Dropped before it had said everything.
            writer.close()
        assert session.gate.check()
        assert (await client.status()).healthy


async def test_flood_of_orders_is_contained() -> None:
    """A flood of orders is answered, one by one or with a refusal, while heartbeats and halts go on."""
    async with world() as here, here.sidecar(orders={"in_flight_max": 20}) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        async with http(here) as raw:
            bodies = [{**ORDER, "ClOrdID": f"f-{number}"} for number in range(100)]
            flood = [asyncio.create_task(raw.post("/v1/orders", json=body)) for body in bodies]
            here.arbiter.forget()
            await here.arbiter.saw(Heartbeat)
            here.arbiter.halt()
            answers = await asyncio.gather(*flood)
        assert {each.status_code for each in answers} <= {200, 503}
        assert not session.gate.check()
        assert isinstance(await probe(client), OrderDenied)


async def probe(client: SidecarClient) -> OrderGranted | OrderDenied:
    """One more order."""
    return await client.precommit(msgspec.convert({**ORDER, "ClOrdID": "probe"}, OrderRequest))
