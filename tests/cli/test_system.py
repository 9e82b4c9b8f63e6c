"""The operator's commands as processes, against a real arbiter over a real broker."""

import asyncio
from pathlib import Path

import pytest
from cli_world import PATIENCE_S, agent, arbiter, deaf_holder, sidecar_command, until, write_config

from sidecar.broker.interface import Outgoing
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.topology import ORDERS
from sidecar.cli.errors import ExitCode
from sidecar.client import SidecarClient

pytestmark = pytest.mark.broker
WHY = ("--reason", "a test")


@pytest.fixture
def config(clean_amqp_url: str, tmp_path: Path) -> Path:
    """A configuration for a broker whose journal is empty."""
    return write_config(tmp_path, clean_amqp_url)


async def until_heard(config: Path, component: str) -> None:
    """Return once the leader hears this component's sidecar."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            ended = await sidecar_command("status", "--json", "-c", config, "--timeout", "20")
            if ended.code == ExitCode.OK and component in [each["component"] for each in ended.json["sidecars"]]:
                return


async def test_status(config: Path) -> None:
    """Status says who leads, as JSON and in words; a comparison has the arbiter hash its state at once."""
    async with arbiter(config):
        compared = await sidecar_command("compare", "--json", "-c", config)
        unbroken = await sidecar_command("break", "resolve", "order-1", *WHY, "--json", "-c", config)
        sound = await sidecar_command("integrity", "list", "--json", "-c", config)
        unfound = await sidecar_command("integrity", "resolve", "9f2c41d07a", *WHY, "--json", "-c", config)
        as_json = await sidecar_command("status", "--json", "-c", config)
        in_words = await sidecar_command("status", "-c", config)
    assert (unbroken.code, unbroken.json[0]["ok"]) == (ExitCode.NO, False)
    assert "no break of ClOrdID 'order-1' is open" in unbroken.json[0]["text"]
    assert (sound.code, sound.json["findings"]) == (ExitCode.OK, [])
    assert (unfound.code, unfound.json[0]["ok"]) == (ExitCode.NO, False)
    assert "nothing is found under '9f2c41d07a'" in unfound.json[0]["text"]
    assert compared.code == ExitCode.OK
    assert [(each["arbiter"], len(each["digest"])) for each in compared.json] == [("arbiter-1", 32)]
    assert as_json.code == ExitCode.OK
    assert as_json.json["arbiter"] == "arbiter-1"
    assert [each["group"] for each in as_json.json["groups"]] == ["execution"]
    assert "arbiter-1 leads" in in_words.out
    assert "nobody" in in_words.out


async def test_halt_and_resume(config: Path) -> None:
    """A halt counts every gate as it closes, stays in force, and is lifted by its id, once."""
    async with arbiter(config), agent(config):
        await until_heard(config, "exec-a")
        halted = await sidecar_command("halt", *WHY, "--actor", "ops", "--json", "-c", config)
        assert halted.code == ExitCode.OK
        assert halted.json["verdict"] == "closed"
        assert halted.json["journaled"]
        assert halted.json["sidecars"] == 1
        assert [each["component"] for each in halted.json["closed"]] == ["exec-a"]
        halt_id = halted.json["halt_id"]
        status = await sidecar_command("status", "--json", "-c", config)
        assert [(each["halt_id"], each["actor"]) for each in status.json["halts"]] == [(halt_id, "ops")]
        lifted = await sidecar_command("resume", halt_id, *WHY, "-c", config)
        assert lifted.code == ExitCode.OK
        again = await sidecar_command("resume", halt_id, *WHY, "--json", "-c", config)
        assert again.code == ExitCode.NO
        assert [each["ok"] for each in again.json] == [False]
        nothing = await sidecar_command("resume", "--all", *WHY, "-c", config)
        assert (nothing.code, nothing.out.strip()) == (ExitCode.OK, "no halt is in force")


async def test_halt_with_a_silent_holder(config: Path) -> None:
    """A holder that does not acknowledge is named with the time its lease has left, and the exit code says so."""
    async with arbiter(config), deaf_holder(config):
        halted = await sidecar_command("halt", *WHY, "--json", "--timeout", "3", "-c", config)
        assert halted.code == ExitCode.BY_DEADLINE
        assert halted.json["verdict"] == "by_deadline"
        assert [each["component"] for each in halted.json["silent"]] == ["exec-a"]


async def test_kill_without_an_answer(config: Path) -> None:
    """A kill that a component does not answer closes its gate, says so, and has an exit code for it."""
    socket = config.parent / "exec-a.sock"
    async with arbiter(config), agent(config):
        await until(socket.is_socket)
        async with SidecarClient(str(socket)) as client, client.session():
            await until_heard(config, "exec-a")
            killed = await sidecar_command("kill", *WHY, "--json", "--timeout", "3", "-c", config)
    assert killed.code == ExitCode.INCOMPLETE
    assert killed.json["verdict"] == "incomplete"
    assert [each["component"] for each in killed.json["closed"]] == ["exec-a"]
    (component,) = killed.json["components"]
    assert not component["complete"]


async def test_two_operators(clean_amqp_url: str, tmp_path: Path) -> None:
    """Where two operators are needed, one alone proposes and lifts nothing, however often."""
    operators = {"operators": ["guest", "somebody"], "resume_operators": 2}
    config = write_config(tmp_path, clean_amqp_url, security=operators)
    async with arbiter(config):
        await sidecar_command("halt", *WHY, "-c", config, "--timeout", "20")
        for _ in range(2):
            proposed = await sidecar_command("resume", "--all", *WHY, "-c", config)
            assert proposed.code == ExitCode.PROPOSED
            assert "PROPOSED, not lifted" in proposed.out


async def test_halt_without_arbiter(config: Path) -> None:
    """Without an arbiter a halt still goes out, and nobody claims to know who closed."""
    halted = await sidecar_command("halt", *WHY, "--json", "--timeout", "1.5", "-c", config)
    assert halted.code == ExitCode.UNKNOWN
    assert halted.json["verdict"] == "unknown"
    assert not halted.json["journaled"]
    assert halted.json["sidecars"] is None


async def test_no_arbiter(config: Path) -> None:
    """Status without an arbiter is one sentence and its own exit code."""
    ended = await sidecar_command("status", "--timeout", "1", "-c", config)
    assert ended.code == ExitCode.UNKNOWN
    assert ended.out == ""
    assert "no arbiter answered" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


async def test_failover_refused(config: Path) -> None:
    """A failover of a group that does not exist is refused by the arbiter, and says so."""
    async with arbiter(config):
        ended = await sidecar_command("failover", "nowhere", *WHY, "-c", config, "--timeout", "20")
    assert ended.code == ExitCode.NO
    assert "nowhere" in ended.err


async def test_not_an_operator(clean_amqp_url: str, tmp_path: Path) -> None:
    """A broker user who is no operator cannot lift a halt, and is told where operators are named."""
    config = write_config(tmp_path, clean_amqp_url, security={"operators": []})
    async with arbiter(config):
        await sidecar_command("halt", *WHY, "-c", config, "--timeout", "20")
        ended = await sidecar_command("resume", "--all", *WHY, "-c", config)
    assert ended.code == ExitCode.NO
    assert "security.operators" in ended.err


async def test_topology(config: Path) -> None:
    """An empty broker is found wanting, apply mends it, and then nothing is found."""
    before = await sidecar_command("topology", "check", "--json", "-c", config)
    assert before.code == ExitCode.NO
    assert not before.json["ok"]
    applied = await sidecar_command("topology", "apply", "-c", config)
    assert applied.code == ExitCode.OK
    after = await sidecar_command("topology", "check", "--json", "-c", config)
    assert after.code == ExitCode.OK
    assert after.json["ok"]


async def test_doctor(config: Path, clean_amqp_url: str) -> None:
    """The doctor names the leader, a slot that nobody holds, and a dead letter with its reason."""
    async with arbiter(config):
        await sidecar_command("status", "-c", config, "--timeout", "20")
        broker = RabbitBroker([clean_amqp_url], name="bad sender")
        await broker.start()
        bad = Outgoing(exchange=ORDERS, routing_key="intent.x", body=b"{not json", type="order-intent.v1", app_id="x")
        try:
            await broker.publish(bad, timeout_s=PATIENCE_S)
        finally:
            await broker.close()
        async with asyncio.timeout(PATIENCE_S):
            while "not-json" not in (examined := await sidecar_command("doctor", "--json", "-c", config)).out:
                continue
    assert examined.code == ExitCode.NO
    by_subject = {each["subject"]: each for each in examined.json["findings"]}
    assert "arbiter-1 leads" in by_subject["arbiter"]["text"]
    assert by_subject["slot execution/0"]["level"] == "critical"
    assert "not-json" in by_subject["queue sidecar.dead-letters"]["text"]
