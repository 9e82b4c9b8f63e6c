"""The local interface on loopback TCP: the same routes, behind a token."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sidecar_world import PATIENCE_S, World, world

from sidecar.agent.loopback import bind_loopback, read_token
from sidecar.client import SidecarClient, SidecarProblem
from sidecar.config.models import Settings
from sidecar.telemetry.serving import CannotListen

TOKEN = "not-a-secret-but-long-enough"


def with_token(here: World) -> dict[str, Any]:
    """The section [component] with a token file."""
    path = here.directory / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return {"tcp": {"token_file": str(path)}}


def url(here: World) -> str:
    """Where it listens."""
    assert here.agent is not None and here.agent.local_port
    return f"http://127.0.0.1:{here.agent.local_port}"


async def test_component_on_tcp() -> None:
    """With the token a component does on TCP what it does on the socket."""
    async with (
        world() as here,
        here.sidecar(component=with_token(here)),
        SidecarClient(url=url(here), token=TOKEN, timeout_s=PATIENCE_S) as client,
        client.session() as session,
    ):
        await session.until_open(PATIENCE_S)
        assert (await client.gate()).open


NOT_THE_TOKEN: tuple[list[tuple[str, str]], ...] = (
    [],
    [("Authorization", "Bearer wrong-but-long-enough-indeed")],
    [("Authorization", f"Bearer {TOKEN}x")],
    [("Authorization", f"Basic {TOKEN}")],
    [("Authorization", TOKEN)],
    [("Authorization", "")],
    [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")],
)


async def test_no_token_no_answer() -> None:
    """Without the right token, once, every route is 401 with the mend, and nothing is done."""
    async with world() as here, here.sidecar(component=with_token(here)) as client:
        async with httpx.AsyncClient(base_url=url(here), timeout=PATIENCE_S) as raw:
            for headers in NOT_THE_TOKEN:
                halt = await raw.post("/v1/halt", content=b'{"scopes":["all"],"reason":"r"}', headers=headers)
                routes = [await raw.get(path, headers=headers) for path in ("/v1/session", "/health", "/nothing")]
                for answer in (halt, *routes):
                    assert (answer.status_code, answer.json()["code"]) == (401, "NO_TOKEN"), headers
                    assert "Bearer" in answer.headers["www-authenticate"]
                    assert "token_file" in answer.json()["mend"]
        assert not (await client.status()).halts


async def test_wrong_token_in_the_client() -> None:
    """A client with the wrong token is told so, as a problem."""
    async with (
        world() as here,
        here.sidecar(component=with_token(here)),
        SidecarClient(url=url(here), token="wrong-token-of-some-length") as client,
    ):
        with pytest.raises(SidecarProblem, match="NO_TOKEN"):
            await client.gate()


async def test_token_is_never_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the token nor what was sent in its place reaches a log, at any level."""
    caplog.set_level(0)
    async with (
        world() as here,
        here.sidecar(component=with_token(here), telemetry={"log_level": "debug"}),
        httpx.AsyncClient(base_url=url(here)) as raw,
    ):
        await raw.get("/v1/gate", headers={"Authorization": "Bearer guessed-by-somebody"})
        await raw.get("/v1/gate", headers={"Authorization": f"Bearer {TOKEN}"})
    said = "".join((caplog.text, *capfd.readouterr()))
    assert TOKEN not in said and "guessed-by-somebody" not in said


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "localhost", "example.org"])
def test_only_loopback(host: str) -> None:
    """An address that is not loopback is refused, in the configuration and where it would be bound."""
    with pytest.raises(ValueError, match=r"127\.0\.0\.1"):
        Settings.model_validate({"component": {"name": "a", "tcp": {"host": host, "token_file": "t"}}})
    with pytest.raises(CannotListen, match=r"127\.0\.0\.1"):
        bind_loopback(host, 0)


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        ("t0o-few", 0o600, "16 to 1024"),
        ("", 0o600, "16 to 1024"),
        ("with spaces in the middle", 0o600, "16 to 1024"),
        ("x" * 2000, 0o600, "16 to 1024"),
        (TOKEN, 0o644, "chmod 600"),
        (TOKEN, 0o620, "chmod 600"),
        (None, 0, "correct the path"),
    ],
)
def test_bad_token_files(tmp_path: Path, content: str | None, mode: int, why: str) -> None:
    """A token file that is missing, open to others or too weak is refused with the mend, and never shown."""
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(CannotListen, match=why) as refused:
        read_token(path)
    assert not content or content not in str(refused.value)


async def test_a_sidecar_without_its_token_does_not_start() -> None:
    """A token file that is not there ends the start, with the gate closed."""
    async with world() as here:
        with pytest.raises(CannotListen, match="token_file"):
            async with asyncio.timeout(PATIENCE_S), here.sidecar(component={"tcp": {"token_file": "/none/token"}}):
                pass
