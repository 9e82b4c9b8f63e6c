"""topology/ is what the code writes, and a broker takes it."""

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from sidecar.broker import admin, export
from sidecar.broker.topology import EXCHANGES, QUEUES, control_queue, heartbeat_queue, reply_queue
from sidecar.broker.users import ROLES, TOPICS, Role, User, conflicts, rights
from sidecar.demo.brokers_node import PrivateNode, server_program

FOLDER = Path(__file__).parents[2] / "topology"


def test_files_are_up_to_date() -> None:
    """The committed files are, byte for byte, what `sidecar topology export` writes."""
    committed = {name: (FOLDER / name).read_text() for name in export.files()}
    assert committed == dict(export.files())
    assert {path.name for path in FOLDER.iterdir()} == {*committed, "README.md"}


def test_files_are_written_as_a_whole(tmp_path: Path) -> None:
    """Writing makes the folder and every file in it, and twice is the same as once."""
    written = export.write(tmp_path / "topology")
    first = [path.read_bytes() for path in written]
    assert [path.name for path in written] == sorted(export.files())
    assert first == [path.read_bytes() for path in export.write(tmp_path / "topology")]


def test_definitions_hold_everything_and_no_secret() -> None:
    """Every exchange, queue and binding is in the definitions, and no user is."""
    made = export.definitions()
    assert {each["name"] for each in made["exchanges"]} == {each.name for each in EXCHANGES}
    assert {each["name"] for each in made["queues"]} == {each.name for each in QUEUES}
    assert len(made["bindings"]) == sum(len(each.bindings) for each in QUEUES)
    assert "users" not in made
    assert "permissions" not in made


def test_delivery_limit_depends_on_the_version() -> None:
    """Quorum queues are told -1 on 4.x, where the default drops, and nothing on 3.x, where -1 drops."""
    assert all(limits(export.definitions((4, 0)))), "4.x"
    assert not any(limits(export.definitions((3, 10)))), "3.x"


def limits(made: dict[str, Any]) -> list[bool]:
    """Whether each quorum queue carries a delivery limit."""
    arguments = [each["arguments"] for each in made["queues"]]
    return ["x-delivery-limit" in each for each in arguments if each["x-queue-type"] == "quorum"]


@pytest.mark.parametrize(
    ("role", "right", "name", "allowed"),
    [
        ("component", "write", "sidecar.health", True),
        ("component", "write", "sidecar.events", False),
        ("component", "write", "amq.default", False),
        ("component", "read", "sidecar.arbiter", False),
        ("component", "write", "sidecar.journal", False),
        ("component", "configure", control_queue("NAME", "1").name, True),
        ("component", "configure", control_queue("a", "1").name, False),
        ("component", "read", reply_queue("NAME", "1").name, True),
        ("component", "read", reply_queue("a", "1").name, False),
        ("component", "read", reply_queue("NAME.a", "1").name, False),
        ("component", "configure", "sidecar.control", False),
        ("operator", "write", "sidecar.commands", True),
        ("operator", "write", "sidecar.control", True),
        ("operator", "write", "amq.default", False),
        ("operator", "write", "sidecar.orders", True),
        ("operator", "read", "sidecar.dead-letters", True),
        ("operator", "write", "sidecar.journal", False),
        ("auditor", "read", "sidecar.journal", True),
        ("auditor", "write", "sidecar.orders", False),
        ("arbiter", "write", "amq.default", True),
        ("arbiter", "read", "sidecar.arbiter", True),
        ("reconciler", "write", "sidecar.orders", True),
        ("reconciler", "read", "sidecar.journal", False),
        ("reconciler", "configure", reply_queue("reconciler-NAME", "1").name, True),
        ("reconciler", "write", "amq.default", False),
        ("venue", "write", "sidecar.orders", True),
        ("venue", "read", "sidecar.orders", False),
        ("monitor", "read", "sidecar.journal", False),
    ],
)
def test_roles_may_do_what_they_need(role: str, right: str, name: str, allowed: bool) -> None:
    """Each role's expressions allow what it does and nothing that another role does."""
    assert bool(re.search(export.permissions()[role][right], name)) == allowed


@pytest.mark.parametrize(
    ("role", "exchange", "publishes", "key", "allowed"),
    [
        ("component", "sidecar.health", True, "heartbeat.exec-a", True),
        ("component", "sidecar.health", True, "heartbeat.exec-ab", False),
        ("component", "sidecar.health", True, "heartbeat.exec-b", False),
        ("component", "sidecar.orders", True, "intent.exec-a", True),
        ("component", "sidecar.orders", True, "evidence.exec-a", False),
        ("component", "sidecar.orders", False, "#", False),
        ("component", "sidecar.health", False, "heartbeat.#", False),
        ("component", "sidecar.health", False, "roundtrip.exec-a.0f", True),
        ("component", "sidecar.health", False, "roundtrip.exec-a.*", False),
        ("component", "sidecar.commands", True, "halt", True),
        ("component", "sidecar.commands", True, "resume", False),
        ("component", "sidecar.answers", True, "sidecar.reply.operator-sue.0f", True),
        ("component", "sidecar.answers", False, "sidecar.reply.operator-sue.0f", False),
        ("operator", "sidecar.answers", False, "sidecar.reply.operator-sue.0f", True),
        ("operator", "sidecar.answers", False, "sidecar.reply.operator-bob.0f", False),
        ("operator", "sidecar.answers", False, "#", False),
        ("operator", "sidecar.commands", True, "resume", True),
        ("venue", "sidecar.orders", True, "drop-copy.exec-a", True),
        ("venue", "sidecar.orders", True, "evidence.exec-a", False),
        ("reconciler", "sidecar.orders", True, "evidence.r", True),
        ("reconciler", "sidecar.orders", True, "intent.exec-a", False),
    ],
)
def test_routing_keys_are_bound_to_names(role: Role, exchange: str, publishes: bool, key: str, allowed: bool) -> None:
    """A user publishes and binds under its own routing keys, and under nobody else's."""
    write, read = rights(role, "sue", "exec-a").topics[exchange]
    assert bool(re.search(write if publishes else read, key)) == allowed


def test_every_topic_exchange_is_closed_by_default() -> None:
    """Each role has a topic permission for each topic exchange: where there is none RabbitMQ allows every key."""
    topics = {each.name for each in EXCHANGES if each.type == "topic"}
    assert all(set(rights(role, "sue", "exec-a").topics) == topics for role in ROLES)


def test_whatever_is_consumed_may_be_sent() -> None:
    """Each routing key that a queue of ours is bound to is one that some role may publish under."""
    bindings = [pair for queue in (*QUEUES, heartbeat_queue("a", "1")) for pair in queue.bindings]
    for exchange, key in bindings:
        sent = key.replace("#", "exec-a") if key != "#" else "resume"
        roles: set[Role] = {"operator"} if exchange == "sidecar.commands" else set(ROLES) - {"operator"}
        if exchange in TOPICS:
            writes = [rights(role, "exec-a", "exec-a").topics[exchange][0] for role in roles]
            assert any(re.search(each, sent) for each in writes), f"{sent} on {exchange}"


def test_a_user_has_one_role() -> None:
    """A user that would have two roles, or be two components, is named with both."""
    twice = [User(user="a", role="operator"), User(user="a", role="component", name="a")]
    assert conflicts(twice) == ["user 'a' is operator and component a: give each a user of its own"]
    assert conflicts([twice[0], twice[0]]) == []


def test_a_name_is_not_read_as_an_expression() -> None:
    """What stands for something else in a regular expression is quoted in the name of a user."""
    own = rights("operator", "a.b+c").configure
    assert re.search(own, reply_queue("operator-a.b+c", "1").name)
    assert not re.search(own, reply_queue("operator-aXbbc", "1").name)


@pytest.mark.broker
async def test_definitions_equal_what_is_declared(amqp_url: str, broker_version: tuple[int, int]) -> None:
    """Where the code declared everything, declaring what the file says is not refused: they are the same."""
    await admin.apply(amqp_url)
    name = "definitions.json" if broker_version >= (4, 0) else "definitions-3.10.json"
    made = json.loads((FOLDER / name).read_text())
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        for each in made["exchanges"]:
            await channel.declare_exchange(each["name"], each["type"], durable=each["durable"])
        for each in made["queues"]:
            await channel.declare_queue(each["name"], durable=each["durable"], arguments=each["arguments"])


IMPORT = "definitions.import_backend = local_filesystem\ndefinitions.local.path = %s\n"


@pytest.fixture
def blank_url(broker_in_container: bool, broker_version: tuple[int, int], tmp_path: Path) -> Iterator[str]:
    """A RabbitMQ like this run's that imported our definitions, and a user of this test's, at its very first boot."""
    name = "definitions.json" if broker_version >= (4, 0) else "definitions-3.10.json"
    user = {"name": "ops", "password": "secret", "tags": "administrator"}
    rights = {"user": "ops", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
    made = json.loads((FOLDER / name).read_text()) | {"users": [user], "permissions": [rights]}
    (tmp_path / "definitions.json").write_text(json.dumps(made))
    tmp_path.chmod(0o755)  # A broker in a container is another user.
    with blank_container(tmp_path) if broker_in_container else blank_node(tmp_path) as address:
        yield f"amqp://ops:secret@{address}/"


@contextlib.contextmanager
def blank_container(folder: Path) -> Iterator[str]:
    """Its address; the definitions are mounted."""
    config = folder / "20-definitions.conf"
    config.write_text(IMPORT % "/topology/definitions.json")
    testcontainers_config.ryuk_disabled = True  # Removed below; the reaper's image need not be pulled for that.
    container = DockerContainer("rabbitmq:4-management").with_exposed_ports(5672)
    container.with_volume_mapping(str(config), "/etc/rabbitmq/conf.d/20-definitions.conf")
    container.with_volume_mapping(str(folder), "/topology")
    container.waiting_for(LogMessageWaitStrategy("Server startup complete").with_startup_timeout(90))
    with container:
        yield f"{container.get_container_host_ip()}:{container.get_exposed_port(5672)}"


@contextlib.contextmanager
def blank_node(folder: Path) -> Iterator[str]:
    """Its address; the definitions are read from `folder`."""
    program, epmd = server_program(), shutil.which("epmd")
    assert program is not None
    assert epmd is not None
    node = PrivateNode(program=program, epmd=epmd, settings=IMPORT % (folder / "definitions.json"))
    try:
        asyncio.run(node.start())
        yield f"127.0.0.1:{node.amqp_port}"
    finally:
        node.stop()


@pytest.mark.broker
def test_a_blank_broker_imports_the_definitions(blank_url: str) -> None:
    """A blank node boots with our definitions, and then has nothing that `sidecar topology check` would mend."""
    findings = asyncio.run(admin.check(blank_url, way=False))
    assert [each for each in findings if each.level not in ("ok", "info")] == []
