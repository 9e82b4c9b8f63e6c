"""The route of halts on the local interface: POST /v1/halt.

Owns what a component may raise and the wait for the broker. It must not decide what a halt closes; the core does.
"""

import asyncio
import time
import uuid
from typing import Any, Final

from litestar import Request, post
from litestar.di import NamedDependency

from sidecar.agent.bodies import read_body
from sidecar.agent.clock import boottime_ns
from sidecar.agent.openapi import described
from sidecar.agent.own_halts import TooManyHalts
from sidecar.agent.parts import Parts
from sidecar.agent.postbox import Postbox
from sidecar.agent.problems import Refused
from sidecar.broker.interface import BrokerAway, BrokerError
from sidecar.broker.topology import COMMANDS, CONTROL
from sidecar.core.ladder import halt_problem
from sidecar.messages.control import Halt
from sidecar.messages.local import HaltPush

CONFIRM_WAIT_S: Final = 2.0
"""How long a caller waits for the broker's confirm; the halt is in force here all the same."""


@post(
    "/v1/halt",
    status_code=200,
    opt=described(
        takes=HaltPush,
        refuses={
            400: "NOT_JSON, WRONG_FIELD: the body is not a halt.",
            429: "TOO_MANY_HALTS: different ones are raised in a ring; those that were raised are in force.",
            504: "NOT_PUBLISHED: the halt is in force here, and the others may not know it yet.",
        },
    ),
)
async def push_halt(request: Request[Any, Any, Any], parts: NamedDependency[Parts]) -> Halt:
    """Stop ourselves or others: our own gate first, then everybody's. One that is repeated is the same halt."""
    push = await read_body(request, HaltPush)
    core, own, now_ns = parts.gatekeeper.core, parts.own_halts, boottime_ns()
    known = own.repeated(push, core.memory.in_force)
    halt = known or _halt(core.component, push)
    if known is None:
        try:
            own.count(now_ns)
        except TooManyHalts as error:
            raise Refused(429, "TOO_MANY_HALTS", str(error), "name all scopes in one halt, or 'all'") from error
        parts.gatekeeper.do(core.on_halt(halt, now_ns))
    if own.is_due(now_ns, new=known is None):
        await _publish_halt(parts.postbox, halt)
    return halt


def _halt(component: str, push: HaltPush) -> Halt:
    halt = Halt(
        halt_id=f"{component}-{uuid.uuid4().hex[:12]}",
        scopes=push.scopes,
        level=push.level,
        reason=push.reason,
        actor=component,
        issued_ns=time.time_ns(),
    )
    if problem := halt_problem(halt):
        raise Refused(400, "WRONG_FIELD", problem, "correct the halt")
    return halt


async def _publish_halt(postbox: Postbox, halt: Halt) -> None:
    """To every sidecar and to the arbiters. Unpublished, it is latched here and travels with each heartbeat."""
    try:
        places = ((CONTROL, ""), (COMMANDS, "halt"))
        sent = [postbox.submit(exchange, key, halt, answered=False) for exchange, key in places]
        async with asyncio.timeout(CONFIRM_WAIT_S):
            await asyncio.gather(*sent)
    except (BrokerError, TimeoutError) as error:
        what = "nothing was sent" if isinstance(error, BrokerAway) else "the broker did not confirm it"
        raise Refused(
            504,
            "NOT_PUBLISHED",
            f"halt {halt.halt_id} is in force here, but {what}: other sidecars may not know it yet",
            "stop the others by other means; the arbiters learn it from our next heartbeat that arrives",
        ) from error
