"""Execute-once around a side effect: one claim for the whole system, one run, one result for whoever asks again.

Owns the blocks, the decorator, and the waits. It must not decide who runs: the arbiter's journal does.

    async with once("order-17", "place") as effect:
        if effect.due:
            effect.done(await send_to_venue())
    order_id = effect.result

Which way it fails: closed. Without an answer nothing is run. A block that ends by an exception, or is cut at `limit_s`,
leaves the effect UNKNOWN, and only a resolver settles it. A blocking block cannot be cut: keep its work's own timeouts
below `limit_s`, or a resolver may look while it is still under way.
"""

import asyncio
import contextlib
import functools
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

from sidecar.client.aio import SidecarClient
from sidecar.client.errors import SidecarError, SidecarProblem
from sidecar.client.once_effect import Effect, OnceBusy, OnceUnrecorded, Plan, Resolution, resolved, settled
from sidecar.client.protocol import KEPT
from sidecar.client.sync import SidecarSyncClient
from sidecar.messages.local import OncePush
from sidecar.messages.once import OnceAnswer, OnceKind, OnceVerdict

LIMIT_S: Final = 60.0
POLL_S: Final = 0.05
POLL_MAX_S: Final = 1.0
"""Between two claims while somebody else is at it: the first pause, doubled each time, and the longest."""

Resolver = Callable[[], Awaitable[Resolution]]
SyncResolver = Callable[[], Resolution]


@contextlib.asynccontextmanager
async def once(
    key: str,
    kind: OnceKind,
    *,
    client: SidecarClient | None = None,
    resolve: Resolver | None = None,
    limit_s: float = LIMIT_S,
    wait_s: float = 0.0,
    fingerprint: str = "",
    returns: Any = Any,
    nothing_done: tuple[type[BaseException], ...] = (),
) -> AsyncIterator[Effect]:
    """Claim `key` for this block, which is cut with TimeoutError after `limit_s` (an hour at most).

    `client` defaults to one of the environment's SIDECAR_SOCKET. `wait_s` is how long to wait for somebody else's end.
    `resolve` finds out what became of an UNKNOWN one. `returns` is the type of results that come from the journal.
    Exceptions of the types `nothing_done` say that nothing happened. Raises OnceError, SidecarUnreachable or
    SidecarProblem on entering: then nothing may be done.
    """
    plan = Plan(kind, key, limit_s, wait_s, fingerprint, returns, nothing_done)
    async with contextlib.AsyncExitStack() as stack:
        sidecar = client if client is not None else await stack.enter_async_context(SidecarClient())
        effect, until_s = await _claimed(sidecar, plan, resolve)
        if not effect.due:
            yield effect
            return
        try:
            async with asyncio.timeout_at(until_s):
                yield effect
        except BaseException as error:
            await _report_failed(sidecar, effect.push(error), error)
            raise
        try:
            await _report(sidecar, effect.push())
        except SidecarError as error:
            raise _unrecorded(effect, error) from error


async def _claimed(sidecar: SidecarClient, plan: Plan, resolve: Resolver | None) -> tuple[Effect, float]:
    """The effect, and until when (on the loop's clock) this caller may be at it."""
    loop = asyncio.get_running_loop()
    give_up_s, pause_s = loop.time() + plan.wait_s, POLL_S
    while True:
        asked_s = loop.time()  # Before the claim leaves: so we stop before the arbiter stops believing in us.
        answer = await sidecar.claim_once(plan.request(resolves=resolve is not None))
        effect = settled(plan, answer)
        if effect is not None:
            return effect, asked_s + plan.limit_s
        if answer.verdict is OnceVerdict.RESOLVE and resolve is not None:
            await _resolve(sidecar, plan, answer, resolve, asked_s + plan.limit_s)
        elif loop.time() >= give_up_s:
            raise OnceBusy(plan.kind, plan.key, answer.text)
        else:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MAX_S)


async def _resolve(sidecar: SidecarClient, plan: Plan, answer: OnceAnswer, resolve: Resolver, until_s: float) -> None:
    """Ask the resolver and report what it found. One that cannot tell leaves it UNKNOWN; the next claim says so."""
    try:
        async with asyncio.timeout_at(until_s):
            resolution = await resolve()
    except BaseException as error:
        await _report_failed(sidecar, resolved(plan, answer, None, error), error)
        raise
    await _report(sidecar, resolved(plan, answer, resolution))
    if resolution is None:
        settled(plan, _still_unknown(answer))


async def _report(sidecar: SidecarClient, push: OncePush) -> None:
    try:
        await sidecar.report_once(push)
    except SidecarProblem as problem:
        if problem.code != KEPT:
            raise


async def _report_failed(sidecar: SidecarClient, push: OncePush, error: BaseException) -> None:
    try:
        await _report(sidecar, push)
    except SidecarError as more:
        error.add_note(f"{push.kind} {push.key!r} could not be reported {push.outcome}: {more}")


@contextlib.contextmanager
def once_sync(
    key: str,
    kind: OnceKind,
    *,
    client: SidecarSyncClient | None = None,
    resolve: SyncResolver | None = None,
    limit_s: float = LIMIT_S,
    wait_s: float = 0.0,
    fingerprint: str = "",
    returns: Any = Any,
    nothing_done: tuple[type[BaseException], ...] = (),
) -> Iterator[Effect]:
    """As `once`, blocking. Nothing cuts the block: its work needs timeouts of its own, below `limit_s`."""
    plan = Plan(kind, key, limit_s, wait_s, fingerprint, returns, nothing_done)
    with contextlib.ExitStack() as stack:
        sidecar = client if client is not None else stack.enter_context(SidecarSyncClient())
        effect = _claimed_sync(sidecar, plan, resolve)
        if not effect.due:
            yield effect
            return
        try:
            yield effect
        except BaseException as error:
            _report_failed_sync(sidecar, effect.push(error), error)
            raise
        try:
            _report_sync(sidecar, effect.push())
        except SidecarError as error:
            raise _unrecorded(effect, error) from error


def _claimed_sync(sidecar: SidecarSyncClient, plan: Plan, resolve: SyncResolver | None) -> Effect:
    give_up_s, pause_s = time.monotonic() + plan.wait_s, POLL_S
    while True:
        answer = sidecar.claim_once(plan.request(resolves=resolve is not None))
        effect = settled(plan, answer)
        if effect is not None:
            return effect
        if answer.verdict is OnceVerdict.RESOLVE and resolve is not None:
            _resolve_sync(sidecar, plan, answer, resolve)
        elif time.monotonic() >= give_up_s:
            raise OnceBusy(plan.kind, plan.key, answer.text)
        else:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MAX_S)


def _resolve_sync(sidecar: SidecarSyncClient, plan: Plan, answer: OnceAnswer, resolve: SyncResolver) -> None:
    try:
        resolution = resolve()
    except BaseException as error:
        _report_failed_sync(sidecar, resolved(plan, answer, None, error), error)
        raise
    _report_sync(sidecar, resolved(plan, answer, resolution))
    if resolution is None:
        settled(plan, _still_unknown(answer))


def _report_sync(sidecar: SidecarSyncClient, push: OncePush) -> None:
    try:
        sidecar.report_once(push)
    except SidecarProblem as problem:
        if problem.code != KEPT:
            raise


def _report_failed_sync(sidecar: SidecarSyncClient, push: OncePush, error: BaseException) -> None:
    try:
        _report_sync(sidecar, push)
    except SidecarError as more:
        error.add_note(f"{push.kind} {push.key!r} could not be reported {push.outcome}: {more}")


def executed_once(
    kind: OnceKind, key: Callable[..., str], *, fingerprint: Callable[..., str] | None = None, **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator for a function that stays as it is, async or not: `key` makes the key of its arguments.

    `fingerprint` does the same for the fingerprint; `options` are those of `once`, or of `once_sync` for a plain
    function. Of a method, `key` and `fingerprint` get `self`, too. Whoever calls again gets the first call's result.
    Raises TypeError for what has no one result: a generator, async or not, and what cannot be called.
    """

    def decorate(wrapped: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(wrapped) or inspect.isgeneratorfunction(wrapped) or inspect.isasyncgenfunction(wrapped):
            raise TypeError(f"{wrapped!r} is no function that is called once and returns one result")

        def named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            print_of = fingerprint(*args, **kwargs) if fingerprint else ""
            return {**options, "key": key(*args, **kwargs), "kind": kind, "fingerprint": print_of}

        @functools.wraps(wrapped)
        async def run(*args: Any, **kwargs: Any) -> Any:
            async with once(**named(args, kwargs)) as effect:
                if effect.due:
                    effect.done(await wrapped(*args, **kwargs))
            return effect.result

        @functools.wraps(wrapped)
        def run_sync(*args: Any, **kwargs: Any) -> Any:
            with once_sync(**named(args, kwargs)) as effect:
                if effect.due:
                    effect.done(_of_plain(effect, wrapped(*args, **kwargs)))
            return effect.result

        called = getattr(wrapped, "__call__", None)  # noqa: B004  # An object may be called asynchronously.
        return run if inspect.iscoroutinefunction(wrapped) or inspect.iscoroutinefunction(called) else run_sync

    return decorate


def _of_plain(effect: Effect, result: Any) -> Any:
    """A plain function's result. What is only begun by it has not happened, or nobody would know when it has."""
    if inspect.iscoroutine(result) or inspect.isgenerator(result):
        result.close()
        effect.not_done("it returned what nobody has run")
    elif not inspect.isawaitable(result):
        return result
    raise TypeError(f"a plain function returned {result!r}: declare it with `async def`")


def _still_unknown(answer: OnceAnswer) -> OnceAnswer:
    return OnceAnswer(
        arbiter=answer.arbiter,
        claim_id=answer.claim_id,
        kind=answer.kind,
        key=answer.key,
        verdict=OnceVerdict.UNKNOWN,
        by=answer.by,
        text="the resolver could not tell",
    )


def _unrecorded(effect: Effect, error: SidecarError) -> OnceUnrecorded:
    return OnceUnrecorded(effect.kind, effect.key, f"it was done, and could not be recorded: {error}", effect.result)
