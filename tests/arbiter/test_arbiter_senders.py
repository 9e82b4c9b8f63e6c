"""An arbiter and the users who speak to it: whose word counts, and where answers go."""

from collections.abc import Callable

from arbiter_worlds import attached, boot_ns, world

from sidecar.broker.interface import Broker, Outgoing
from sidecar.broker.memory import MemoryBroker, MemoryHub
from sidecar.broker.topology import COMMANDS, HEALTH, reply_queue
from sidecar.messages.base import message_type
from sidecar.messages.codec import encode
from sidecar.messages.control import CommandResult, ResumeRequest
from sidecar.messages.events import TermBegan
from sidecar.messages.security import SenderRefused


def users(**known: str) -> Callable[[str], Broker]:
    """A way to connect, as the user of one's own name unless another is given."""
    hub = MemoryHub()
    return lambda name: MemoryBroker(hub, name=name, user=known.get(name, name))


def beat(component: str, reply_to: str) -> Outgoing:
    """A heartbeat of this component, to be answered there."""
    message = attached(component).heartbeat(boot_ns())
    return Outgoing(
        exchange=HEALTH,
        routing_key=f"heartbeat.{component}",
        body=encode(message),
        type=message_type(message),
        app_id=component,
        reply_to=reply_to,
    )


async def test_another_user_is_refused() -> None:
    """A heartbeat in another's name is a dead letter, counted and alerted, and nobody has been heard."""
    async with world(users(peer="mallory")) as (peer, arbiters):
        process = arbiters.start("arbiter-1")
        await peer.first(TermBegan)
        peer.broker.post(beat("exec-a", ""))
        await peer.until(lambda: peer.dead)
        (dead,) = peer.dead
        assert (dead.headers["reason-code"], dead.headers["original-user-id"]) == ("wrong-sender", "mallory")
        assert (await peer.first(SenderRefused)).user == "mallory"
        assert process.metrics.registry.get_sample_value("sidecar_senders_refused_total") == 1
        assert not process._core.roster.members


async def test_answers_go_to_who_asked() -> None:
    """A component cannot have its answers sent to a queue of another."""
    async with world(users(peer="exec-a")) as (peer, arbiters):
        process = arbiters.start("arbiter-1")
        await peer.first(TermBegan)
        peer.broker.post(beat("exec-a", reply_queue("exec-b", "1").name))
        await peer.until(lambda: peer.dead)
        assert "exec-a's own" in str(peer.dead[0].headers["reason-text"])
        peer.broker.post(beat("exec-a", reply_queue("exec-a", "1").name))
        await peer.until(lambda: "exec-a" in process._core.roster.members or None)


async def test_a_request_of_nobodys_is_answered_and_alerted() -> None:
    """Who is no operator and asks for what operators may is told so, and it is alerted."""
    async with world(users(peer="bob"), "sue") as (peer, arbiters):
        arbiters.start("arbiter-1")
        request = ResumeRequest(request_id="r", halt_id="h", actor="sue", reason="r")
        await peer.command(request, "resume")
        assert (await peer.first(CommandResult)).code == "REFUSED"
        alert = await peer.first(SenderRefused)
        assert (alert.user, alert.app_id, alert.exchange) == ("bob", "sue", COMMANDS)
        assert not peer.dead
