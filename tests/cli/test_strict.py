"""`broker.strict`: no start on a broker with a critical finding. And what the doctor says of rights."""

import json
from pathlib import Path

import pytest
from cli_world import sidecar_command, write_config
from test_commands import call, nowhere

from sidecar.cli.errors import ExitCode
from sidecar.demo.brokers_node import free_port

__all__ = ["nowhere"]


def strict_config(folder: Path, url: str, *, strict: bool = True) -> Path:
    """A configuration whose management API is a port that nobody listens on."""
    api = f"http://user:hush-hush@127.0.0.1:{free_port()}"
    return write_config(folder, url, broker={"urls": [url], "strict": strict, "management_url": api})


@pytest.mark.parametrize("command", ["run", "arbiter", "reconcile"])
def test_no_start_without_a_broker(tmp_path: Path, command: str) -> None:
    """With no broker a strict process does not start: a code of its own, and a sentence that names the reason."""
    path = strict_config(tmp_path, f"amqp://user:hush-hush@127.0.0.1:{free_port()}/")
    ended = call(command, "--config", path)
    assert ended.exit_code == ExitCode.BROKER
    assert "not started" in ended.stderr
    assert "cannot be reached" in ended.stderr
    assert "hush-hush" not in ended.output


@pytest.mark.broker
async def test_no_start_without_the_management_api(tmp_path: Path, clean_amqp_url: str) -> None:
    """On a broker that answers, a strict process does not start when the management API does not."""
    ended = await sidecar_command("arbiter", "--config", strict_config(tmp_path, clean_amqp_url))
    assert ended.code == ExitCode.BROKER
    assert "management API: cannot see" in ended.err
    assert "hush-hush" not in ended.out + ended.err


@pytest.mark.broker
async def test_the_doctor_says_that_it_cannot_see(tmp_path: Path, clean_amqp_url: str) -> None:
    """Without the management API the doctor says what it cannot see, what that means, and the mend, and no password."""
    path = strict_config(tmp_path, clean_amqp_url, strict=False)
    ended = await sidecar_command("doctor", "--json", "--role", "arbiter", "--timeout", "1", "--config", path)
    (away,) = [each for each in ended.json["findings"] if each["subject"] == "management API"]
    assert (away["level"], away["unseen"]) == ("warning", True)
    assert "broker.management_url" in away["mend"]
    assert "policy that deletes the journal" in away["means"]
    in_words = await sidecar_command("doctor", "--timeout", "1", "--config", path)
    assert "WARNING  management API: cannot see" in in_words.out
    assert "mend: " in in_words.out
    assert "hush-hush" not in ended.out + in_words.out


def test_a_management_url_that_is_none(tmp_path: Path) -> None:
    """A management URL of another kind is a configuration error, and is not shown."""
    path = write_config(tmp_path, "amqp://a/", broker={"management_url": "amqp://user:hush-hush@a/"})
    ended = call("config", "check", "--config", path)
    assert ended.exit_code == ExitCode.USAGE
    assert "http://" in ended.output
    assert "hush-hush" not in ended.output


def test_unknown_roles_are_refused(nowhere: Path) -> None:
    """The doctor compares with roles that exist only."""
    assert call("doctor", "--role", "king", "--config", nowhere).exit_code == ExitCode.USAGE
    assert json.loads(call("doctor", "--json", "--timeout", "0.5", "--config", nowhere).stdout)["ok"] is False
