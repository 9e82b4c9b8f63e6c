"""Doing what halts ask of a component: cancel, flatten, persist, stop.

Owns one run of each handler for each halt at a time, and its answer. It must not repeat anything: the sidecar asks
again until the answer says that nothing remains.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import structlog

from sidecar.client.aio import SidecarClient
from sidecar.client.errors import SidecarError
from sidecar.client.session import Session
from sidecar.messages.local import MeasureAsked
from sidecar.messages.measures import Measure

Handler = Callable[[MeasureAsked], Awaitable[Iterable[str]]]
"""Does one measure and returns the names of what remains, nothing when it is done. It is called again until then."""


async def do_measures(client: SidecarClient, session: Session, handlers: Mapping[Measure, Handler]) -> None:
    """Run the handler of each measure that is asked for, and answer; until the session ends, which raises SessionLost.

    A measure without a handler is answered with `failed`. A handler that raises has failed, with the error as the text;
    it runs again when the sidecar asks again. While it runs, further askings for the same halt are passed over.
    """
    running: dict[tuple[str, Measure], asyncio.Task[None]] = {}
    try:
        async for asked in session.measures():
            key = (asked.halt_id, asked.measure)
            if key not in running:
                task = asyncio.create_task(_do(client, asked, handlers.get(asked.measure)), name=f"do-{asked.measure}")
                running[key] = task
                task.add_done_callback(partial(_over, running, key))
    finally:
        tasks = list(running.values())
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _over(running: dict[tuple[str, Measure], asyncio.Task[None]], key: tuple[str, Measure], _: object) -> None:
    running.pop(key, None)


async def _do(client: SidecarClient, asked: MeasureAsked, handler: Handler | None) -> None:
    log = structlog.get_logger(__name__)
    remaining: tuple[str, ...] = ()
    failed = "" if handler is not None else f"this component has no handler for {asked.measure}"
    try:
        if handler is not None:
            remaining = tuple(await handler(asked))
    except Exception as error:  # The handler is the component's own code: whatever it raises, the answer is failed.
        log.exception("a measure failed", measure=asked.measure, halt_id=asked.halt_id)
        failed = f"{type(error).__name__}: {error}"
    try:
        await client.answer_measure(asked, remaining, failed=failed)
    except SidecarError as error:
        log.warning("an answer on a measure did not arrive; it is asked again", why=str(error))
