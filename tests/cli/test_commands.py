"""Commands that need no broker: usage, configuration, generated files, and what goes wrong."""

import asyncio
import json
import signal
import socket
from base64 import b64decode
from pathlib import Path

import pytest
from cli_world import write_config
from typer.testing import CliRunner, Result

from sidecar import __version__
from sidecar.broker.interface import BrokerAway, TopologyConflict
from sidecar.broker.topology import STATE
from sidecar.broker.users import allows, password_hash
from sidecar.cli.errors import ExitCode, code_of, sentence_of
from sidecar.cli.main import build_app
from sidecar.cli.process import run_process, run_to_end
from sidecar.cli.schemas import schema_files
from sidecar.config.describe import describe
from sidecar.config.models import TelemetrySettings


def call(*arguments: str | Path) -> Result:
    """Call the command inside this process, with an environment of its own."""
    return CliRunner().invoke(build_app(), [str(each) for each in arguments], env={"SIDECAR_AMQP_URL": None})


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A configuration whose broker is a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return write_config(tmp_path, f"amqp://user:secret@127.0.0.1:{port}/")


def test_version() -> None:
    """`sidecar version` prints the version and nothing else."""
    assert call("version").output.strip() == __version__


@pytest.mark.parametrize(
    "arguments",
    [
        ("halt",),
        ("halt", "--reason", "   "),
        ("halt", "--reason", "x", "--level", "active"),
        ("halt", "--reason", "x", "--scope", "planet:mars"),
        ("kill",),
        ("flatten", "--reason", "x", "--scope", "planet:mars"),
        ("shutdown", "--reason", " "),
        ("resume", "--reason", "x"),
        ("resume", "h1", "--all", "--reason", "x"),
        ("failover", "execution"),
        ("switchover", "execution"),
        ("drain", "exec-a"),
        ("explain",),
        ("history", "--last", "0"),
        ("pause", "execution", "--reason", "x"),
        ("pause", "execution", "--reason", "x", "--for", "10"),
        ("pause", "execution", "--reason", "x", "--for", "0m"),
        ("no-such-command",),
    ],
)
def test_usage(arguments: tuple[str, ...]) -> None:
    """A wrong command line ends with exit code 2 before anything is sent."""
    assert call(*arguments).exit_code == ExitCode.USAGE


def test_configuration_error(tmp_path: Path) -> None:
    """A wrong field ends a command with exit code 2 and a sentence that names it, and no traceback."""
    path = write_config(tmp_path, "amqp://127.0.0.1/", timing={"heartbeat_ms": "often"})
    for command in ("run", "arbiter", "reconcile", "status"):
        result = call(command, "--config", path)
        assert result.exit_code == ExitCode.USAGE
        assert "timing.heartbeat_ms" in result.stderr
        assert "Traceback" not in result.output


def test_run_needs_a_component(tmp_path: Path) -> None:
    """`sidecar run` without a component names the field that is missing."""
    result = call("run", "--config", write_config(tmp_path, "amqp://127.0.0.1/", component=None))
    assert result.exit_code == ExitCode.USAGE
    assert "component.name" in result.stderr


def test_embedded_is_for_the_demo(tmp_path: Path) -> None:
    """A process that is told to use the in-process broker refuses, because nobody could reach it."""
    result = call("arbiter", "--config", write_config(tmp_path, "amqp://127.0.0.1/", broker={"embedded": True}))
    assert result.exit_code == ExitCode.USAGE
    assert "broker.embedded" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("halt", "--reason", "x"),
        ("resume", "h1", "--reason", "x"),
        ("explain", "execution"),
        ("history",),
        ("switchover", "execution", "--reason", "x"),
        ("drain", "exec-a", "--reason", "x"),
        ("pause", "execution", "--reason", "x", "--for", "10m"),
    ],
)
def test_no_broker(nowhere: Path, command: tuple[str, ...]) -> None:
    """Without a broker a command ends with exit code 4 and one sentence, which holds no password."""
    result = call(*command, "--config", nowhere, "--timeout", "0.5")
    assert result.exit_code == ExitCode.UNKNOWN
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert "secret" not in result.output


def test_doctor_without_broker(nowhere: Path) -> None:
    """The doctor reports an absent broker as a finding, as JSON where asked."""
    result = call("doctor", "--json", "--config", nowhere, "--timeout", "0.5")
    assert result.exit_code == ExitCode.NO
    answer = json.loads(result.stdout)
    assert not answer["ok"]
    assert {each["subject"] for each in answer["findings"] if each["level"] == "critical"} >= {"arbiter"}


def test_doctor_of_a_wrong_configuration(tmp_path: Path) -> None:
    """The doctor reports a wrong configuration as findings, one for each problem."""
    path = write_config(tmp_path, "amqp://127.0.0.1/", timing={"tick_ms": "x", "probe_ms": "y"})
    result = call("doctor", "--json", "--config", path)
    assert result.exit_code == ExitCode.NO
    assert [each["subject"] for each in json.loads(result.stdout)["findings"]] == ["configuration"] * 2


def test_config_check(tmp_path: Path) -> None:
    """A good configuration is said to be valid, with its groups."""
    result = call("config", "check", "--config", write_config(tmp_path, "amqp://127.0.0.1/"))
    assert result.exit_code == ExitCode.OK
    assert "execution (2)" in result.stdout


def test_config_describe() -> None:
    """`sidecar config describe` prints docs/configuration.md."""
    assert call("config", "describe").stdout == describe()


def test_exports(tmp_path: Path) -> None:
    """The export commands write exactly the generated files."""
    assert call("schemas", "export", tmp_path / "schemas").exit_code == ExitCode.OK
    assert call("topology", "export", tmp_path / "topology").exit_code == ExitCode.OK
    assert (tmp_path / "topology" / "definitions.json").is_file()
    written = {str(each.relative_to(tmp_path / "schemas")) for each in (tmp_path / "schemas").rglob("*.*")}
    assert written == set(schema_files())


def users_of_export(folder: Path, *arguments: str | Path, **security: object) -> Result:
    """Export with the configuration of one installation."""
    names = {"operators": ["sue"], "arbiters": ["arb-1"], **security}
    config = write_config(folder, "amqp://sue@127.0.0.1/prod", security=names, venues={"SIM": {"address": "h:1"}})
    return call("topology", "export", folder / "topology", "--config", config, *arguments)


def test_export_makes_a_user_for_each(tmp_path: Path) -> None:
    """With a configuration the export has users and rights for all whom it names, and the passwords' hashes only."""
    passwords = tmp_path / "passwords"
    passwords.mkdir()
    (passwords / "sue").write_text("hunter2\n")
    also = ("--component", "exec-z:late")
    result = users_of_export(tmp_path, "--passwords", passwords, *also, reconcilers=["rec"])
    assert result.exit_code == ExitCode.OK
    text = (tmp_path / "topology" / "users.json").read_text()
    made = json.loads(text)
    hashes = {each["name"]: each["password_hash"] for each in made["users"]}
    assert set(hashes) == {"sue", "arb-1", "rec", "exec-a", "exec-b", "exec-z", "SIM"}
    assert hashes["sue"] == password_hash("hunter2", b64decode(hashes["sue"])[:4])
    assert {name for name, each in hashes.items() if each} == {"sue"}
    assert {each["user"] for each in made["permissions"]} == set(hashes)
    assert {each["vhost"] for each in made["topic_permissions"]} == {"prod"}
    states = {each["user"]: each["read"] for each in made["topic_permissions"] if each["exchange"] == STATE}
    assert allows(states["exec-z"], "state.late.exec-y")
    assert not allows(states["exec-z"], "state.execution.exec-a")
    assert "hunter2" not in text + result.output


@pytest.mark.parametrize(
    ("security", "said"),
    [
        ({"operators": ["exec-a"]}, "user 'exec-a' is operator and component exec-a"),
        ({"arbiters": []}, "security.arbiters is empty"),
        ({"component_user": "everybody"}, "must have {component}"),
    ],
)
def test_export_refuses_shared_users(tmp_path: Path, security: dict[str, object], said: str) -> None:
    """Users that would have the rights of two, or none to tell them by, are not exported; the sentence says why."""
    result = users_of_export(tmp_path, **security)
    assert result.exit_code == ExitCode.USAGE
    assert said in result.stderr.replace("\n", " ")


def test_cannot_write(tmp_path: Path) -> None:
    """A directory that cannot be made is one sentence, not a traceback."""
    (tmp_path / "file").write_text("")
    result = call("schemas", "export", tmp_path / "file")
    assert result.exit_code == ExitCode.NO
    assert len(result.stderr.strip().splitlines()) == 1


def test_debug_shows_where(nowhere: Path) -> None:
    """--debug adds the traceback, and the exit code stays."""
    result = call("--debug", "status", "--config", nowhere, "--timeout", "0.5")
    assert result.exit_code == ExitCode.UNKNOWN
    assert "Traceback" in result.stderr


def test_codes_of_errors() -> None:
    """Each kind of error has its exit code; what nobody foresaw is a defect, and is called one."""
    assert code_of(TopologyConflict("x")) is ExitCode.NO
    assert code_of(BrokerAway("x")) is ExitCode.UNKNOWN
    assert code_of(ZeroDivisionError("x")) is ExitCode.DEFECT
    assert "unexpected ZeroDivisionError" in sentence_of(ZeroDivisionError("amqp://user:secret@host/"))
    assert "secret" not in sentence_of(ZeroDivisionError("amqp://user:secret@host/"))


class Waiter:
    """Runs until stopped; sends itself `number` first."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Until stopped, by nothing but the signal."""
        signal.raise_signal(self._number)
        async with asyncio.timeout(10):
            await self._stopping.wait()
        return 7

    def stop(self) -> None:
        """As a process does."""
        self._stopping.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_a_process(number: signal.Signals) -> None:
    """SIGTERM and SIGINT ask a process to stop, and its own exit code is returned."""
    assert run_process(TelemetrySettings(), lambda: Waiter(number), role="test", name="x") == 7


def test_sigterm_cancels_what_ends_by_itself() -> None:
    """SIGTERM lets a command that ends by itself tidy up first."""
    tidied = []

    async def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            tidied.append(True)

    with pytest.raises(asyncio.CancelledError):
        run_to_end(work())
    assert tidied
