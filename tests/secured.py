"""A real broker with the users that `sidecar topology export --config` makes, for the tests of what they may do."""

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from managed_brokers import Managed, host_of_containers, managed_broker
from yarl import URL

from sidecar.agent.process import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.export import definitions
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.users import User, user_definitions
from sidecar.cli.users import users_of
from sidecar.config.load import load_settings
from sidecar.config.models import Settings

ROOT = Path(__file__).parents[1]
PATIENCE_S = 30.0
PASSWORD = "pass-%s-word"
COMPONENTS = ("exec-a", "exec-b")


@dataclass(frozen=True)
class Secured:
    """The broker, its users with a password each, and certificates for them."""

    managed: Managed
    users: tuple[User, ...]
    certificates: Path

    def url(self, user: str, password: str | None = None) -> str:
        """As this user, with the right password unless another is given."""
        given = PASSWORD % user if password is None else password
        return str(URL(self.managed.amqp_url).with_user(user).with_password(given))

    def broker(self, user: str, **options: Any) -> RabbitBroker:
        """A connection of that user, not started."""
        return RabbitBroker([self.url(user)], name=user, backoff_max_ms=200, **options)

    def settings(self, folder: Path, user: str, **sections: Any) -> Settings:
        """What a process of that user is configured with."""
        return Settings.model_validate(document(folder) | {"broker": {"urls": [self.url(user)]}} | sections)

    def component(self, folder: Path, name: str, url: str = "") -> Agent:
        """A sidecar that connects as its component's user."""
        own = {"component": {"name": name, "gate": str(folder / f"{name}.gate")}}
        broker = RabbitBroker([url or self.url(name)], name=name, backoff_max_ms=200)
        return Agent(self.settings(folder, name, **own), broker)


def document(folder: Path) -> dict[str, Any]:
    """The configuration that all processes share."""
    return {
        "run_dir": str(folder),
        "groups": {"execution": {"components": COMPONENTS}},
        "venues": {"SIM": {"address": "127.0.0.1:1"}},
        "timing": {"heartbeat_ms": 50, "holder_lease_ms": 5000, "gate_to_effect_ms": 10, "holder_wait_ms": 6000},
        "security": {
            "operators": ["alice"],
            "arbiters": ["arbiter-1"],
            "reconcilers": ["reconciler-1"],
            "auditors": ["archive"],
            "monitors": ["monitor"],
        },
    }


def certificates_in(folder: Path, host: str) -> Path:
    """Made by the documented script; keys that all may read, because a broker in a container is another user."""
    script = ROOT / "deploy" / "tls" / "make-certificates"
    subprocess.run(["sh", script, folder, f"127.0.0.1,localhost,{host}", "exec-a", "mallory"], check=True, timeout=30)
    for each in folder.iterdir():
        each.chmod(0o644)
    folder.chmod(0o755)
    return folder


@contextlib.contextmanager
def secured_broker(in_container: bool, version: tuple[int, int]) -> Iterator[Secured]:
    """Started here, with our exchanges, queues and users imported, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sc-") as folder:
        host = host_of_containers() if in_container else "localhost"
        certificates = certificates_in(Path(folder) / "certificates", host)
        users = tuple(users_of(Settings.model_validate(document(Path(folder)))))
        passwords = {each.user: PASSWORD % each.user for each in users}
        with managed_broker(in_container, certificates) as managed:
            made = definitions(version) | user_definitions(users, passwords=passwords)
            with httpx.Client(base_url=managed.management_url, timeout=PATIENCE_S, trust_env=False) as api:
                api.post("/api/definitions", json=made).raise_for_status()
                api.delete("/api/users/guest").raise_for_status()
            yield Secured(managed, users, certificates)


@contextlib.asynccontextmanager
async def running(process: ArbiterProcess | Agent) -> AsyncIterator[None]:
    """Run it until the end of the block."""
    task: asyncio.Task[int] = asyncio.create_task(process.run())
    try:
        yield
    finally:
        process.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task


def with_certificate(secured: Secured, user: str, certificate: str, ca_file: Path | None = None) -> list[str]:
    """The URLs of a process that is configured to log in with this certificate."""
    folder = secured.certificates
    settings = load_settings(
        None,
        environ={
            "SIDECAR_AMQP_URL": f"amqps://{user}@{secured.managed.amqps}/",
            "SIDECAR_BROKER__TLS__CA_FILE": str(ca_file or folder / "ca.pem"),
            "SIDECAR_BROKER__TLS__CERT_FILE": str(folder / f"{certificate}.pem"),
            "SIDECAR_BROKER__TLS__KEY_FILE": str(folder / f"{certificate}.key"),
            "SIDECAR_BROKER__TLS__LOG_IN": "true",
        },
    )
    return [each.get_secret_value() for each in settings.broker.urls]
