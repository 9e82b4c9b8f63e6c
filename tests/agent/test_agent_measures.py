"""Measures at a running sidecar: asked, answered, carried out by programs, stopped, reported until recorded."""

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sidecar_world import ISSUER, PATIENCE_S, PeerArbiter, world

from sidecar.client import MeasureAsked, Session, SessionLost, SidecarProblem, SidecarSyncClient
from sidecar.client.measures import do_measures
from sidecar.messages.control import HaltAccepted
from sidecar.messages.local import LocalStatus, OrderRequest
from sidecar.messages.measures import MEASURES, Measure, MeasureOutcome, MeasuresReport

QUICK: dict[str, Any] = {"retry_ms": 10, **{each: {"limit_ms": 2_000} for each in MEASURES}}
HASTY: dict[str, Any] = {"retry_ms": 10, **{each: {"limit_ms": 50} for each in MEASURES}}


async def asked(session: Session) -> MeasureAsked:
    """The next measure that is asked for."""
    async with asyncio.timeout(PATIENCE_S):
        return await anext(aiter(session.measures()))


async def completed(arbiter: PeerArbiter) -> MeasuresReport:
    """The first report that says everything is done."""
    return await arbiter.saw(MeasuresReport, lambda each: each.completed)


def outcome(report: MeasuresReport, measure: Measure) -> MeasureOutcome:
    """That measure's outcome in a report."""
    return next(each for each in report.outcomes if each.measure == measure)


async def test_gate_then_measure_then_report() -> None:
    """A kill closes the gate, is acknowledged, asks the component, and its answer is reported as completed."""
    async with world() as here, here.sidecar(measures=QUICK) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.halt("group:execution", measures=("cancel",))
        line = await asked(session)
        assert not session.gate.check()
        assert (line.measure, line.scopes, line.attempt) == ("cancel", ("group:execution",), 1)
        said = await client.answer_measure(line)
        assert said.state == "done"
        report = await completed(here.arbiter)
        assert (report.component, report.incarnation) == ("exec-a", session.incarnation)
        accepted = await here.arbiter.saw(HaltAccepted)
        assert here.arbiter.heard.index(accepted) < here.arbiter.heard.index(report)
        await here.arbiter.quiet()
        heard = zip(here.arbiter.heard, here.arbiter.routed, strict=False)
        ways = {key for message, (_, key) in heard if isinstance(message, MeasuresReport)}
        assert ways == {"measures.exec-a", ISSUER.name}


async def test_what_remains_is_asked_again_and_named() -> None:
    """While the component names what remains it is asked again, and issuer and arbiters hear the names."""
    async with world() as here, here.sidecar(measures=QUICK) as client, client.session() as session:
        here.arbiter.halt(measures=("cancel",))
        first = await asked(session)
        await client.answer_measure(first, ["o-1"])
        report = await here.arbiter.saw(MeasuresReport)
        assert (report.completed, report.outcomes[0].remaining) == (False, ("o-1",))
        second = await asked(session)
        assert second.attempt > first.attempt
        await client.answer_measure(second)
        await completed(here.arbiter)


async def test_handlers_do_it() -> None:
    """`do_measures` runs a handler again until it returns nothing, answers for what has none, and passes errors on."""
    names = iter([["o-1", "o-2"], ["o-2"], []])

    async def cancel(line: MeasureAsked) -> list[str]:
        return next(names)

    async def persist(line: MeasureAsked) -> list[str]:
        raise OSError("the disk is full")

    quick = {**QUICK, "flatten": {"limit_ms": 100}}
    async with world() as here, here.sidecar(measures=quick) as client, client.session() as session:
        doing = asyncio.create_task(do_measures(client, session, {"cancel": cancel, "persist": persist}))
        here.arbiter.halt(measures=("cancel", "flatten", "persist"))
        report = await here.arbiter.saw(MeasuresReport, lambda each: len(each.outcomes) == 3 and each.n > 1)
        assert outcome(report, "cancel").state in ("failed", "done")
        flatten = await here.arbiter.saw(
            MeasuresReport, lambda each: "no handler for flatten" in outcome(each, "flatten").text
        )
        assert not flatten.completed
        failed = await here.arbiter.saw(MeasuresReport, lambda each: outcome(each, "persist").text != "")
        assert "OSError: the disk is full" in outcome(failed, "persist").text
        assert outcome(failed, "cancel").state == "done"
        doing.cancel()


async def test_kill_then_exception() -> None:
    """A component whose cancelling raises has no open gate before, meanwhile or after, and its orders are denied."""
    open_meanwhile: list[bool] = []

    async with world() as here, here.sidecar(measures=QUICK) as client, client.session() as session:
        await session.until_open(PATIENCE_S)

        async def cancel(line: MeasureAsked) -> list[str]:
            open_meanwhile.append(session.gate.check())
            raise ZeroDivisionError("a bug")

        doing = asyncio.create_task(do_measures(client, session, {"cancel": cancel}))
        here.arbiter.halt("group:execution", measures=("cancel",))
        failed = await here.arbiter.saw(
            MeasuresReport, lambda each: "ZeroDivisionError" in outcome(each, "cancel").text
        )
        fields: dict[str, Any] = {"account": "ACC", "venue": "SIM", "symbol": "ACME", "side": "BUY", "qty": Decimal(1)}
        answer = await client.precommit(OrderRequest(cl_ord_id="o-1", **fields))
        doing.cancel()
        assert (failed.completed, set(open_meanwhile), session.gate.check()) == (False, {False}, False)
        assert getattr(answer, "code", "") == "HALTED"


async def test_sync_client() -> None:
    """The blocking client is asked and answers in the same way."""
    attached, loop = asyncio.Event(), asyncio.get_running_loop()
    async with world() as here, here.sidecar(measures=QUICK):

        def component() -> str:
            with SidecarSyncClient(here.socket, timeout_s=PATIENCE_S) as client, client.session() as session:
                loop.call_soon_threadsafe(attached.set)
                line = session.next_measure(PATIENCE_S)
                assert line is not None
                return client.answer_measure(line).state

        working = asyncio.create_task(asyncio.to_thread(component))
        await attached.wait()
        here.arbiter.halt(measures=("cancel",))
        async with asyncio.timeout(PATIENCE_S):
            assert await working == "done"


async def test_report_is_repeated_until_recorded() -> None:
    """A report that no arbiter records goes out again with the same number."""
    async with world() as here, here.sidecar(measures=QUICK) as client, client.session() as session:
        here.arbiter.recording = False
        here.arbiter.halt(measures=("cancel",))
        await client.answer_measure(await asked(session))
        report = await completed(here.arbiter)
        here.arbiter.forget()
        assert await completed(here.arbiter) == report


async def test_unasked_answers_are_refused() -> None:
    """An answer to what was not asked, or that is no answer, is refused with a reason."""
    async with world() as here, here.sidecar(measures=QUICK) as client, client.session() as session:
        here.arbiter.halt(measures=("cancel",))
        line = await asked(session)
        stranger = MeasureAsked(component="exec-a", halt_id="h/9", measure="cancel", scopes=(), attempt=1, limit_ms=0)
        other = MeasureAsked(
            component="exec-a", halt_id=line.halt_id, measure="persist", scopes=(), attempt=1, limit_ms=0
        )
        for each in (stranger, other):
            with pytest.raises(SidecarProblem) as refused:
                await client.answer_measure(each)
            assert refused.value.code in ("NOT_ASKED", "NO_SUCH_PATH", "NOT_FOUND")


async def test_nobody_there() -> None:
    """Without a component and a program the measure is reported as nobody's; who attaches later is asked."""
    async with world() as here, here.sidecar(measures=QUICK) as client:
        here.arbiter.halt(measures=("cancel",))
        report = await here.arbiter.saw(MeasuresReport)
        assert report.outcomes[0].state == "nobody"
        async with client.session() as session:
            await client.answer_measure(await asked(session))
            await completed(here.arbiter)


def program(here: Path, script: str) -> tuple[str, ...]:
    """A configured program: a script of this Python."""
    path = here / "measure.py"
    path.write_text(script)
    return (sys.executable, str(path))


async def test_a_program_cancels_for_an_absent_component() -> None:
    """A configured program is run until it exits with 0; what it prints meanwhile is what remains."""
    script = """
import os, pathlib, sys
count = pathlib.Path(__file__).with_suffix(".count")
tries = int(count.read_text()) if count.exists() else 0
count.write_text(str(tries + 1))
assert (os.environ["SIDECAR_MEASURE"], os.environ["SIDECAR_SCOPES"]) == ("cancel", "symbol:XYZ;rm -rf")
if tries == 0:
    print("o-1")
    print("o-2")
    sys.exit(1)
"""
    async with world() as here:
        command = program(here.directory, script)
        async with here.sidecar(measures={"retry_ms": 10, "cancel": {"command": command, "limit_ms": 20_000}}):
            here.arbiter.halt("symbol:XYZ;rm -rf", measures=("cancel",))
            first = await here.arbiter.saw(MeasuresReport, lambda each: each.outcomes[0].state == "failed")
            assert first.outcomes[0].remaining == ("o-1", "o-2")
            assert (await completed(here.arbiter)).outcomes[0].text.startswith("by ")


async def test_a_program_steps_in_for_a_component_that_is_late() -> None:
    """When the component does not answer within the limit, the program does it."""
    async with world() as here:
        command = program(here.directory, "")
        settings = {"retry_ms": 10, "cancel": {"limit_ms": 50, "command": command}}
        async with here.sidecar(measures=settings) as client, client.session():
            here.arbiter.halt(measures=("cancel",))
            await completed(here.arbiter)


async def test_a_program_that_cannot_run_is_a_failure() -> None:
    """A command that is not there fails the measure, and harms nothing else."""
    async with world() as here, here.sidecar(measures={"cancel": {"command": ("/nowhere/cancel",)}}) as client:
        here.arbiter.halt(measures=("cancel",))
        report = await here.arbiter.saw(MeasuresReport, lambda each: each.outcomes[0].state == "failed")
        assert "cannot be run" in report.outcomes[0].text
        assert (await client.status()).measures[0].halt_id == "halt-1"


async def test_shutdown_stops_the_child_and_the_sidecar_lives_on() -> None:
    """An emergency shutdown ends a child that ignores everything; the sidecar lives on and says so."""
    async with world() as here:
        child = ["/bin/sh", "-c", "trap '' TERM; exec tail -f /dev/null"]
        async with here.sidecar(child=child, measures=HASTY) as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            here.arbiter.halt(measures=MEASURES)
            report = await here.arbiter.saw(MeasuresReport, lambda each: outcome(each, "stop").state == "done")
            assert [each.state for each in report.outcomes] == ["nobody", "nobody", "nobody", "done"]
            assert not report.completed
            assert "exited with code 137" in outcome(report, "stop").text
            with pytest.raises(SessionLost, match="it was stopped by halt halt-1"):
                async for _ in session.changes():
                    pass
            status = await client.status()
            assert (status.gate.open, status.gate.incarnation) == (False, "")
            async with (
                client.session() as again
            ):  # It lives: it takes the next run of the component, and keeps the halt.
                assert again.incarnation != session.incarnation
                assert not again.gate.check()
            assert here.running is not None and not here.running.done()


async def test_stop_ends_the_session_of_a_component_that_is_not_ours() -> None:
    """A component that the sidecar did not start is told to stop, and when it does not its session is ended."""
    async with world() as here, here.sidecar(measures=HASTY) as client, client.session() as session:
        here.arbiter.halt(measures=("stop",), reason="fire")
        assert (await asked(session)).measure == "stop"
        with pytest.raises(SessionLost, match="it was stopped by halt halt-1: fire"):
            async for _ in session.changes():
                pass
        assert "not ours to stop" in (await completed(here.arbiter)).outcomes[0].text


async def test_a_component_that_stops_by_itself() -> None:
    """A component that was told to stop, and ends its session within the limit, has stopped."""
    async with world() as here, here.sidecar(measures=QUICK) as client:
        async with client.session() as session:
            here.arbiter.halt(measures=("stop",))
            assert (await asked(session)).measure == "stop"
        assert (await completed(here.arbiter)).outcomes[0].text == "it ended its session by itself"


async def test_measures_survive_a_restart() -> None:
    """After a restart of the sidecar what was done stays done, and what was not is asked for again."""
    async with world() as here:
        async with here.sidecar(measures=QUICK) as client, client.session() as session:
            here.arbiter.halt(measures=("cancel", "flatten"))
            await client.answer_measure(await asked(session))
            while (await asked(session)).measure != "flatten":
                pass
            before = (await client.status()).measures
        async with here.sidecar(measures=QUICK) as client, client.session() as session:
            assert (await asked(session)).measure == "flatten"
            after: LocalStatus = await client.status()
            assert [each.state for each in after.measures[0].outcomes] == ["done", "asked"]
            assert before[0].outcomes[0].state == "done"


async def test_an_unreadable_file_begins_again() -> None:
    """Measures that cannot be read are asked for again as long as their halt is latched."""
    async with world() as here:
        async with here.sidecar(measures=QUICK) as client, client.session() as session:
            here.arbiter.halt(measures=("cancel",))
            await client.answer_measure(await asked(session))
            await completed(here.arbiter)
        kept = here.directory / "exec-a.state" / "measures.json"
        assert json.loads(kept.read_text())[0]["halt"]["halt_id"] == "halt-1"
        kept.write_text("[{")
        async with here.sidecar(measures=QUICK) as client, client.session() as session:
            assert (await asked(session)).measure == "cancel"


async def test_a_lifted_kill_goes_on_cancelling() -> None:
    """A cancel that was not done when its halt was lifted is asked for until nothing remains, with the gate open."""
    async with world() as here, here.sidecar(measures=QUICK) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        here.arbiter.halt(measures=("cancel",))
        await client.answer_measure(await asked(session), ["o-1"])
        here.arbiter.control(1, lifted=["halt-1"])
        async with asyncio.timeout(PATIENCE_S):
            while not session.gate.check():
                await client.gate()
        await client.answer_measure(await asked(session), ["o-1"])
        await client.answer_measure(await asked(session))
        await completed(here.arbiter)
        async with asyncio.timeout(PATIENCE_S):
            while (await client.status()).measures:
                pass
