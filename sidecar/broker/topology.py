"""Which exchanges and queues exist: the one source of `topology/` and of what is declared at start.

Owns names and arguments. It must not open a connection. Arguments that depend on the server's version are
resolved by `queue_arguments(spec, version)`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

HEALTH = "sidecar.health"
CONTROL = "sidecar.control"
ORDERS = "sidecar.orders"
COMMANDS = "sidecar.commands"
EVENTS = "sidecar.events"
ANSWERS = "sidecar.answers"
STATE = "sidecar.state"
DEAD_LETTER = "sidecar.dead-letter"

ARBITER_QUEUE = "sidecar.arbiter"
RECONCILER_QUEUE = "sidecar.reconciler"
JOURNAL_STREAM = "sidecar.journal"
SNAPSHOT_STREAM = "sidecar.snapshots"
HEALTH_HISTORY_STREAM = "sidecar.health-history"
DEAD_LETTERS_QUEUE = "sidecar.dead-letters"
REPLY_PREFIX = "sidecar.reply."
STATE_LENGTH_MAX = 10_000
"""Messages that wait in a sidecar's queue of states."""


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """A durable exchange."""

    name: str
    type: Literal["topic", "fanout"]
    what: str


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue and its bindings, as (exchange, routing key) pairs. `exclusive` queues live with their connection.

    `length_max` and `bytes_max` bound an exclusive queue (oldest dropped first): it holds what is repeated anyway.
    """

    name: str
    kind: Literal["quorum", "classic", "stream"]
    bindings: tuple[tuple[str, str], ...] = ()
    exclusive: bool = False
    single_active_consumer: bool = False
    dead_lettered: bool = False
    length_max: int | None = None
    bytes_max: int | None = None
    what: str = field(default="", compare=False)


EXCHANGES: tuple[ExchangeSpec, ...] = (
    ExchangeSpec(HEALTH, "topic", "heartbeats (transient) and health reports (persistent)"),
    ExchangeSpec(CONTROL, "fanout", "halts and control states, to every sidecar"),
    ExchangeSpec(ORDERS, "topic", "order intents, reports, drop copies, evidence and reports on measures"),
    ExchangeSpec(COMMANDS, "topic", "operators' requests, to the arbiter"),
    ExchangeSpec(EVENTS, "topic", "decided facts, for everyone else"),
    ExchangeSpec(ANSWERS, "topic", "sidecars' acknowledgements, to whoever asked for them, by the name of its queue"),
    ExchangeSpec(STATE, "topic", "components' states in pieces, from the holder of a slot to its group's sidecars"),
    ExchangeSpec(DEAD_LETTER, "fanout", "what could not be understood, with the reason"),
)

QUEUES: tuple[QueueSpec, ...] = (
    QueueSpec(
        ARBITER_QUEUE,
        "quorum",
        bindings=(
            (ORDERS, "intent.#"),
            (ORDERS, "report.#"),
            (ORDERS, "evidence.#"),
            (ORDERS, "measures.#"),
            (COMMANDS, "#"),
        ),
        single_active_consumer=True,
        dead_lettered=True,
        what="orders and commands, to the nominated arbiter",
    ),
    QueueSpec(
        RECONCILER_QUEUE,
        "quorum",
        bindings=((ORDERS, "drop-copy.#"), (EVENTS, "evidence-wanted.#")),
        single_active_consumer=True,
        dead_lettered=True,
        what="drop copies and requests for evidence, to the reconciler",
    ),
    QueueSpec(JOURNAL_STREAM, "stream", what="the journal: every decided fact"),
    QueueSpec(SNAPSHOT_STREAM, "stream", what="snapshots of the folded state"),
    QueueSpec(HEALTH_HISTORY_STREAM, "stream", bindings=((HEALTH, "report.#"),), what="health reports, for trends"),
    QueueSpec(DEAD_LETTERS_QUEUE, "quorum", bindings=((DEAD_LETTER, ""),), what="dead letters"),
)


def control_queue(component: str, run: str) -> QueueSpec:
    """A sidecar's own queue on the control fanout, and the key under which its own word comes round to it."""
    bindings = ((CONTROL, ""), (HEALTH, roundtrip_key(component, run)))
    return QueueSpec(f"sidecar.control.{component}.{run}", "classic", bindings, exclusive=True, length_max=1000)


def state_queue(component: str, run: str, group: str, others: tuple[str, ...], bytes_max: int) -> QueueSpec:
    """A sidecar's own queue of its group's states: of these other members, or of all of them when none is named.

    The oldest pieces go first: only the newest state counts, and what was missed is asked for again.
    """
    keys = [*(state_key(group, each) for each in others or ("*",)), state_asking_key(group, "*")]
    bindings = ((STATE, key) for key in (*keys, state_to_key(group, component)))
    return QueueSpec(
        f"sidecar.state.{component}.{run}",
        "classic",
        tuple(bindings),
        exclusive=True,
        length_max=STATE_LENGTH_MAX,
        bytes_max=bytes_max,
    )


def state_key(group: str, component: str) -> str:
    """Where the states that this holder sends to its whole group go."""
    return f"state.{group}.{component}"


def state_asking_key(group: str, component: str) -> str:
    """Where this sidecar asks its group's holders for their states."""
    return f"wanted.{group}.{component}"


def state_to_key(group: str, component: str) -> str:
    """Where states and words on them go to this one sidecar."""
    return f"to.{group}.{component}"


def roundtrip_key(owner: str, run: str) -> str:
    """The routing key of a process's messages to itself, on an exchange that it writes to anyway."""
    return f"roundtrip.{owner}.{run}"


def reply_queue(owner: str, run: str) -> QueueSpec:
    """A process's own queue for arbiters' answers, reached through the default exchange."""
    return QueueSpec(f"{REPLY_PREFIX}{owner}.{run}", "classic", exclusive=True, length_max=100_000)


def issuer_queue(user: str, run: str) -> QueueSpec:
    """The queue for answers of somebody who stops others: sidecars, which may not write to queues, reach it too.

    It is named after the broker's user, so that an operator's rights hold for it and for no other operator's.
    """
    plain = reply_queue(f"operator-{user}", run)
    return replace(plain, bindings=((ANSWERS, plain.name),))


def takes_replies(queue: str) -> bool:
    """Whether a `reply_to` names a queue for answers; anything else, the journal above all, gets none."""
    return queue.startswith(REPLY_PREFIX)


def is_reply_queue_of(owner: str, queue: str) -> bool:
    """Whether the queue for answers is this owner's, in any of its runs."""
    return queue.rpartition(".")[0] == f"{REPLY_PREFIX}{owner}"


def heartbeat_queue(arbiter: str, run: str) -> QueueSpec:
    """An arbiter's own bounded view of all heartbeats and releases; standbys watch too."""
    return QueueSpec(
        f"sidecar.heartbeats.{arbiter}.{run}",
        "classic",
        ((HEALTH, "heartbeat.#"), (HEALTH, "released.#")),
        exclusive=True,
        length_max=100_000,
    )


def events_queue(owner: str, run: str, *keys: str) -> QueueSpec:
    """A watcher's own queue of events with the given routing keys."""
    bindings = tuple((EVENTS, key) for key in keys or ("#",))
    return QueueSpec(f"sidecar.events.{owner}.{run}", "classic", bindings, exclusive=True, length_max=100_000)


def queue_arguments(spec: QueueSpec, version: tuple[int, int]) -> dict[str, str | int | bool]:
    """The declare arguments of a queue on a server of this (major, minor) version.

    Quorum queues of 4.x drop a message after 20 deliveries unless told -1; 3.x drops at the first redelivery when
    told -1 and never when told nothing (RabbitMQ quorum-queue documentation; measured on 3.10.8 and 4.0.5).
    """
    arguments: dict[str, str | int | bool] = {"x-queue-type": spec.kind}
    if spec.single_active_consumer:
        arguments["x-single-active-consumer"] = True
    if spec.kind == "quorum" and version >= (4, 0):
        arguments["x-delivery-limit"] = -1
    if spec.dead_lettered:
        arguments["x-dead-letter-exchange"] = DEAD_LETTER
    if spec.length_max is not None:
        arguments["x-max-length"] = spec.length_max
        arguments["x-overflow"] = "drop-head"
    if spec.bytes_max is not None:
        arguments["x-max-length-bytes"] = spec.bytes_max
    return arguments
