"""What a component's own credentials cannot do, on a real broker with the generated users."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path

import aio_pika
import aiormq
import httpx
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from commands import Shown, sidecar_here, sidecar_process
from forging import Forger, Watch
from pamqp.common import FieldValue
from secured import PASSWORD, PATIENCE_S, Secured, document, running, secured_broker, with_certificate

from sidecar.agent.process import Agent
from sidecar.arbiter.process import ArbiterProcess
from sidecar.broker.finding import Finding
from sidecar.broker.interface import BrokerAway, Delivery, Outgoing, Subscription
from sidecar.broker.management import Survey, survey
from sidecar.broker.rabbit import RabbitBroker
from sidecar.broker.rights import judge_rights
from sidecar.broker.topology import (
    ANSWERS,
    COMMANDS,
    CONTROL,
    EVENTS,
    HEALTH,
    ORDERS,
    STATE,
    control_queue,
    issuer_queue,
    reply_queue,
    state_asking_key,
    state_key,
    state_to_key,
)
from sidecar.broker.users import User
from sidecar.client import OrderGranted, OrderRequest, SidecarClient
from sidecar.client.operator import Operator
from sidecar.gate.reader import GateReader
from sidecar.messages.base import SlotToken, Token
from sidecar.messages.codec import decode
from sidecar.messages.control import ControlState, Halt, HaltAccepted, ResumeRequest, TradingState
from sidecar.messages.health import Heartbeat, Lease
from sidecar.messages.orders import OrderIntent

pytestmark = pytest.mark.broker
HELD = "execution/0"
Deed = Callable[[AbstractChannel], Awaitable[object]]


@pytest.fixture(scope="module")
def secured(broker_in_container: bool, broker_version: tuple[int, int]) -> Iterator[Secured]:
    """One for all tests of this module; none changes it."""
    with secured_broker(broker_in_container, broker_version) as broker:
        yield broker


def publishes(exchange: str, key: str, user_id: str = "exec-a") -> Deed:
    """Publish something and wait for the broker's word on it."""

    async def deed(channel: AbstractChannel) -> None:
        to = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await to.publish(aio_pika.Message(b"{}", user_id=user_id), key, mandatory=False)

    return deed


def reads(queue: str) -> Deed:
    """Consume a queue that exists."""

    async def ignore(message: object) -> None:
        return None

    async def deed(channel: AbstractChannel) -> None:
        await channel.set_qos(1)
        taken = await channel.get_queue(queue, ensure=False)
        await taken.consume(ignore)

    return deed


def declares(queue: str, **arguments: str) -> Deed:
    """Declare an exclusive queue."""

    async def deed(channel: AbstractChannel) -> None:
        await channel.declare_queue(queue, exclusive=True, arguments={each: arguments[each] for each in arguments})

    return deed


def binds(exchange: str, key: str) -> Deed:
    """Bind a queue of our own."""

    async def deed(channel: AbstractChannel) -> None:
        own = await channel.declare_queue(reply_queue("exec-a", "0f").name, exclusive=True)
        await own.bind(exchange, key)

    return deed


def deletes(queue: str) -> Deed:
    """Delete a queue that exists."""
    return lambda channel: channel.queue_delete(queue)


FORBIDDEN: dict[str, Deed] = {
    "journal by its name": publishes("", "sidecar.journal"),
    "snapshots by its name": publishes("", "sidecar.snapshots"),
    "arbiters by their queue's name": publishes("", "sidecar.arbiter"),
    "another's answers by the queue's name": publishes("", reply_queue("exec-b", "0f").name),
    "resume": publishes(COMMANDS, "resume"),
    "failover": publishes(COMMANDS, "failover"),
    "another's heartbeat": publishes(HEALTH, "heartbeat.exec-b"),
    "another's order": publishes(ORDERS, "intent.exec-b"),
    "evidence": publishes(ORDERS, "evidence.exec-a"),
    "drop copy": publishes(ORDERS, "drop-copy.SIM"),
    "event": publishes(EVENTS, "slot-moved"),
    "read the journal": reads("sidecar.journal"),
    "read snapshots": reads("sidecar.snapshots"),
    "read the arbiters' queue": reads("sidecar.arbiter"),
    "read dead letters": reads("sidecar.dead-letters"),
    "another's queue for answers": declares(reply_queue("exec-b", "0f").name),
    "another's queue of halts": declares(control_queue("exec-b", "0f").name),
    "an operator's queue": declares(issuer_queue("alice", "0f").name),
    "overhear orders": binds(ORDERS, "#"),
    "overhear commands": binds(COMMANDS, "#"),
    "overhear events": binds(EVENTS, "#"),
    "overhear heartbeats": binds(HEALTH, "heartbeat.#"),
    "overhear an operator": binds(ANSWERS, issuer_queue("alice", "0f").name),
    "another's state": publishes(STATE, state_key("execution", "exec-b")),
    "state into another group": publishes(STATE, state_key("risk", "exec-a")),
    "words on state to another group": publishes(STATE, state_to_key("risk", "exec-b")),
    "overhear another group's states": binds(STATE, state_key("risk", "*")),
    "overhear all states": binds(STATE, "#"),
    "overhear words on state": binds(STATE, state_to_key("execution", "exec-b")),
    "delete the journal": deletes("sidecar.journal"),
    "into the journal as dead letters": declares(
        reply_queue("exec-a", "0e").name,
        **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "sidecar.journal"},
    ),
}
NEEDED: dict[str, Deed] = {
    "halt everybody": publishes(CONTROL, ""),
    "have a halt journaled": publishes(COMMANDS, "halt"),
    "own heartbeat": publishes(HEALTH, "heartbeat.exec-a"),
    "own order": publishes(ORDERS, "intent.exec-a"),
    "acknowledge to an operator": publishes(ANSWERS, issuer_queue("alice", "0f").name),
    "own queue of halts": binds(CONTROL, ""),
    "own state": publishes(STATE, state_key("execution", "exec-a")),
    "ask for its group's states": publishes(STATE, state_asking_key("execution", "exec-a")),
    "acknowledge a state": publishes(STATE, state_to_key("execution", "exec-b")),
    "its group's states": binds(STATE, state_key("execution", "*")),
    "one member's states": binds(STATE, state_key("execution", "exec-b")),
}


async def connected(secured: Secured, user: str) -> AbstractConnection:
    """A plain connection."""
    return await aio_pika.connect(secured.url(user), timeout=PATIENCE_S)


@pytest.mark.parametrize("what", FORBIDDEN)
async def test_a_component_may_not(secured: Secured, what: str) -> None:
    """The broker refuses a component whatever is not its own to say or to read."""
    async with await connected(secured, "exec-a") as connection, asyncio.timeout(PATIENCE_S):
        channel = await connection.channel()
        with pytest.raises((aiormq.ChannelAccessRefused, aiormq.ChannelClosed), match="ACCESS_REFUSED"):
            await FORBIDDEN[what](channel)


@pytest.mark.parametrize("what", NEEDED)
async def test_a_component_may(secured: Secured, what: str) -> None:
    """The same component may do what it is for."""
    async with await connected(secured, "exec-a") as connection, asyncio.timeout(PATIENCE_S):
        await NEEDED[what](await connection.channel())


async def test_an_operator_may_read_the_journal(secured: Secured) -> None:
    """An operator may read the journal, for the whole story of an order, and not write it."""
    async with await connected(secured, "alice") as connection, asyncio.timeout(PATIENCE_S):
        await reads("sidecar.journal")(await connection.channel())
        with pytest.raises(aiormq.ChannelAccessRefused):
            await publishes("", "sidecar.journal")(await connection.channel())


async def test_a_name_is_not_chosen(secured: Secured) -> None:
    """The broker refuses a message that names another user than the one who sends it."""
    async with await connected(secured, "exec-a") as connection, asyncio.timeout(PATIENCE_S):
        with pytest.raises(aiormq.ChannelPreconditionFailed, match="user_id"):
            await publishes(CONTROL, "", user_id="arbiter-1")(await connection.channel())


async def test_what_a_queue_dead_letters_keeps_its_user(secured: Secured) -> None:
    """A dead-lettering queue walks a message round topic permissions, but not round its sender's name."""
    heard: asyncio.Queue[Delivery] = asyncio.Queue()
    operator, component = secured.broker("alice"), await connected(secured, "exec-a")
    queue = issuer_queue("alice", "0d")
    operator.subscribe(Subscription(queue=queue, on_delivery=heard.put_nowait, no_ack=True))
    await operator.start()
    try:
        async with component, asyncio.timeout(PATIENCE_S):
            await operator.wait_ready(PATIENCE_S)
            channel = await component.channel()
            round_the_corner: dict[str, FieldValue] = {
                "x-dead-letter-exchange": ANSWERS,
                "x-dead-letter-routing-key": queue.name,
                "x-message-ttl": 0,
            }
            own = await channel.declare_queue(
                reply_queue("exec-a", "0c").name, exclusive=True, arguments=round_the_corner
            )
            await own.bind(HEALTH, "roundtrip.exec-a.0c")
            await publishes(HEALTH, "roundtrip.exec-a.0c")(channel)
            assert (await heard.get()).user_id == "exec-a"
    finally:
        await operator.close()


async def test_the_doctor_agrees(secured: Secured) -> None:
    """Asked of the broker, the rights of every generated user are neither more nor less than its role needs."""
    for each in secured.users:
        seen = await survey([secured.managed.management_url], vhost="/", user=each.user, timeout_s=PATIENCE_S)
        assert isinstance(seen, Survey)
        found = [(finding.level, finding.text) for finding in _judged(seen, each)]
        assert found == [("ok", "may do what it needs")], each


def _judged(seen: Survey, user: User) -> list[Finding]:
    return judge_rights(seen, user.user, user.role, user.name, user.group)


async def test_a_wrong_password_leaves_the_gate_closed(secured: Secured, tmp_path: Path) -> None:
    """A sidecar whom the broker refuses keeps its gate closed, and says who was refused and what to look at."""
    agent = secured.component(tmp_path, "exec-a", url=secured.url("exec-a", "wrong-secret"))
    async with running(agent), asyncio.timeout(PATIENCE_S):
        await agent.listening.wait()
        async with SidecarClient(str(agent.places.socket)) as client, client.session():
            while "refuses user 'exec-a'" not in (status := await client.status()).trouble:
                pass
            assert "password or certificate" in status.trouble
            assert "wrong-secret" not in repr(status)
            assert not status.healthy
            assert not (await client.gate()).open
            assert not GateReader(agent.places.gate).check()


async def test_a_certificate_logs_in(secured: Secured) -> None:
    """With TLS and its certificate a component is its user without any password, and its messages say so."""
    heard: asyncio.Queue[Delivery] = asyncio.Queue()
    broker = RabbitBroker(with_certificate(secured, "exec-a", "exec-a"), name="exec-a")
    broker.subscribe(Subscription(queue=control_queue("exec-a", "0b"), on_delivery=heard.put_nowait, no_ack=True))
    await broker.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await broker.wait_ready(PATIENCE_S)
            key = "roundtrip.exec-a.0b"
            await broker.publish(Outgoing(exchange=HEALTH, routing_key=key, body=b"{}", type="t", app_id="exec-a"))
            assert (await heard.get()).user_id == "exec-a"
    finally:
        await broker.close()


@pytest.mark.parametrize(
    ("user", "certificate", "ca", "said"),
    [
        ("mallory", "mallory", "ca.pem", "refuses user 'mallory'"),
        ("exec-a", "exec-a", "mallory.pem", "certificate verify failed"),
    ],
)
async def test_certificates_are_checked(secured: Secured, user: str, certificate: str, ca: str, said: str) -> None:
    """A certificate whose user does not exist is refused, and so is a broker that our authority did not sign."""
    urls = with_certificate(secured, user, certificate, secured.certificates / ca)
    broker = RabbitBroker(urls, name=user, backoff_max_ms=200)
    await broker.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            told = ""
            while said not in told:
                with pytest.raises(BrokerAway) as refused:
                    await broker.wait_ready(0.1)
                told = str(refused.value)
    finally:
        await broker.close()


@contextlib.asynccontextmanager
async def connection(secured: Secured, user: str) -> AsyncIterator[RabbitBroker]:
    """Closed at the end; the caller starts it when all that it consumes is subscribed."""
    broker = secured.broker(user)
    try:
        yield broker
    finally:
        await broker.close()


async def started(*brokers: RabbitBroker) -> None:
    """Start these and wait until they stand."""
    for each in brokers:
        await each.start()
    for each in brokers:
        await each.wait_ready(PATIENCE_S)


def order(cl_ord_id: str) -> OrderRequest:
    """A plain order."""
    return OrderRequest(cl_ord_id=cl_ord_id, account="A1", venue="SIM", symbol="XYZ", side="BUY", qty=Decimal(1))


def intent(component: str) -> OrderIntent:
    """An order in this component's name."""
    return OrderIntent(
        cl_ord_id="forged-1",
        component=component,
        incarnation="i",
        slot=HELD,
        token=Token(1, 1),
        account="A1",
        venue="SIM",
        symbol="XYZ",
        side="BUY",
        qty=Decimal(1),
    )


def lease() -> Lease:
    """A right that only an arbiter can give."""
    return Lease(
        arbiter="arbiter-1",
        term=9,
        incarnation="i",
        seq=1,
        ttl_ns=10**12,
        control_version=0,
        slots=(SlotToken(HELD, Token(9, 1)),),
    )


@contextlib.asynccontextmanager
async def attached(agent: Agent) -> AsyncIterator[SidecarClient]:
    """A running sidecar with a component."""
    async with running(agent):
        await agent.listening.wait()
        async with SidecarClient(str(agent.places.socket)) as client, client.session():
            yield client


async def until_open(client: SidecarClient) -> None:
    """Wait for the gate."""
    while not (await client.gate()).open:
        pass


def refused(process: ArbiterProcess | Agent) -> float:
    """How many messages of the wrong sender this process has counted."""
    return process.metrics.registry.get_sample_value("sidecar_senders_refused_total") or 0.0


async def test_forged_messages_change_nothing(secured: Secured, tmp_path: Path) -> None:
    """With a component's credentials one cannot grant, resume, lift, order or acknowledge for another; it is told."""
    arbiter = ArbiterProcess(secured.settings(tmp_path, "arbiter-1"), secured.broker("arbiter-1"))
    exec_a, exec_b = (secured.component(tmp_path, each) for each in ("exec-a", "exec-b"))
    async with (
        asyncio.timeout(3 * PATIENCE_S),
        connection(secured, "alice") as desk,
        connection(secured, "exec-a") as theirs,
        running(arbiter),
        attached(exec_a) as a,
    ):
        senders = secured.settings(tmp_path, "alice").security.senders()
        watch, operator, forger = Watch(desk), Operator(desk, "alice", senders), Forger(theirs)
        await started(desk, theirs)
        await until_open(a)
        assert isinstance(await a.precommit(order("c-1")), OrderGranted)

        await forger.say(ORDERS, "intent.exec-a", intent("exec-b"))
        await watch.buried(OrderIntent, "exec-a")
        assert "exec-b" in (await watch.alerted(OrderIntent, "exec-a")).text
        assert refused(arbiter) >= 1

        beat = Heartbeat(component="exec-b", incarnation="x", seq=1, ready=True)
        await forger.say(HEALTH, "heartbeat.exec-a", beat)
        await watch.buried(Heartbeat, "exec-a")
        assert [each.component for each in (await operator.status(timeout_s=PATIENCE_S)).sidecars] == ["exec-a"]

        async with attached(exec_b) as b:
            while len((await operator.status(timeout_s=PATIENCE_S)).sidecars) < 2:
                pass
            halted = await operator.halt(["component:exec-b"], TradingState.HALTED, "test", timeout_s=PATIENCE_S)
            assert halted.complete
            halt_id = halted.halt.halt_id

            for each in (lease(), ControlState(arbiter="arbiter-1", term=9, version=99, halts=(), lifted=(halt_id,))):
                await forger.say(CONTROL, "", each)
                await watch.buried(type(each), "exec-a")
            assert refused(exec_b) >= 2
            assert [each.halt_id for each in (await b.status()).halts] == [halt_id]

            request = ResumeRequest(request_id="r", halt_id=halt_id, actor="alice", reason="forged")
            await forger.say(COMMANDS, "halt", request)
            assert "no operator" in (await watch.alerted(ResumeRequest, "exec-a")).text
            assert [each.halt_id for each in (await operator.status(timeout_s=PATIENCE_S)).halts] == [halt_id]

        def acknowledge(delivery: Delivery) -> None:
            halt = decode(delivery.body, delivery.type, app_id=delivery.app_id, user_id=delivery.user_id)
            assert isinstance(halt, Halt)
            accepted = HaltAccepted(
                component="exec-b",
                incarnation="i",
                halt_id=halt.halt_id,
                closed_ns=1,
                in_scope=True,
                trading_state=halt.level,
            )
            theirs.post(forger.forged(ANSWERS, delivery.reply_to, accepted))

        forger.on_halt = acknowledge
        halting = asyncio.create_task(operator.halt(["all"], TradingState.HALTED, "test", timeout_s=PATIENCE_S))
        await watch.buried(HaltAccepted, "exec-a")
        forger.on_halt = lambda delivery: None
        assert not halting.done()
        async with attached(secured.component(tmp_path, "exec-b")):
            progress = await halting
        assert progress.accepted["exec-b"].closed_ns > 1
        assert (await operator.resume(halt_id, "it was a test", timeout_s=PATIENCE_S)).ok


async def seen(local: httpx.AsyncClient, path: str) -> str:
    """What the local interface answers there; nothing while nobody answers."""
    try:
        return (await local.get(f"http://sidecar{path}")).text
    except httpx.TransportError:
        return ""


async def test_no_secret_is_shown(secured: Secured, tmp_path: Path) -> None:
    """Passwords are in no output, log, status, figure, command line, exported file or component's environment."""
    config, passwords, shown = tmp_path / "sidecar.json", tmp_path / "passwords", Shown()
    config.write_text(json.dumps(document(tmp_path) | {"telemetry": {"log_level": "debug"}}))
    passwords.mkdir()
    for each in secured.users:
        (passwords / each.user).write_text(PASSWORD % each.user)
    by_file = {
        "SIDECAR_AMQP_URL": secured.url("alice", ""),
        "SIDECAR_BROKER__PASSWORD_FILE": f"{passwords}/alice",
    }
    by_variable = {
        "SIDECAR_AMQP_URL": secured.url("exec-a", ""),
        "SIDECAR_BROKER__PASSWORD": PASSWORD % "exec-a",
        "SIDECAR_COMPONENT__NAME": "exec-a",
        "SIDECAR_COMPONENT__GATE": f"{tmp_path}/exec-a.gate",
    }
    wrong = {"SIDECAR_AMQP_URL": secured.url("alice", PASSWORD % "nobody")}
    run = ("run", "--config", config, "--", "sh", "-c", "env; exec sleep 60")
    arbiter = ArbiterProcess(secured.settings(tmp_path, "arbiter-1"), secured.broker("arbiter-1"))
    async with (
        asyncio.timeout(3 * PATIENCE_S),
        running(arbiter),
        sidecar_process(shown, *run, environment=by_variable),
    ):
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=f"{tmp_path}/exec-a.sock")) as local:
            while '"trouble":""' not in (text := await seen(local, "/v1/status")):
                async with await connected(secured, "alice"):
                    pass  # Time for the process to start.
            shown.texts += [text, await seen(local, "/health"), await seen(local, "/metrics")]
        assert await sidecar_here(shown, "status", "--config", config, environment=by_file) == 0
        await sidecar_here(shown, "doctor", "--config", config, "--role", "operator", environment=by_file)
        assert await sidecar_here(shown, "status", "--config", config, "--timeout", "0.5", environment=wrong) != 0
        export = ("topology", "export", tmp_path / "topology", "--config", config, "--passwords", passwords)
        assert await sidecar_here(shown, *export, environment=by_file) == 0
    shown.texts += [each.read_text() for each in (tmp_path / "topology").iterdir()]
    shown.texts += [each.read_text() for each in (tmp_path / "exec-a.state").iterdir()]
    assert "SIDECAR_COMPONENT__NAME=exec-a" in shown
    assert "sidecar_gate_open" in shown
    assert "refuses user 'alice'" in shown
    start, _, end = PASSWORD.partition("%s")
    found = [each for each in shown.texts if re.search(f"{start}[A-Za-z0-9-]+{end}", each)]
    assert found == []
