"""Figures of a running sidecar, from the push or the file to the report, the status, Prometheus and the slot."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from sidecar_world import PATIENCE_S, World, world
from test_agent_gate import HOLDER

from sidecar.agent import health
from sidecar.client import SidecarProblem
from sidecar.messages.health import HealthReport, Heartbeat

OFTEN = {"report_interval_ms": 100, "collect_interval_ms": 250}


async def metrics(here: World) -> str:
    """What Prometheus would be told."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=here.socket)) as http:
        return (await http.get("http://sidecar/metrics")).text


def own(here: World, **more: object) -> dict[str, Any]:
    """The component's section."""
    return {"name": "exec-a", "socket": here.socket, "gate": str(here.gate), "stop_grace_ms": 100, **more}


def watched(here: World, path: Path) -> dict[str, Any]:
    """The component's section, with a file that gives the age of the event log."""
    return own(here, age_files={"event_log_age_s": str(path)})


async def test_figures_reach_report_status_and_prometheus() -> None:
    """What the component pushes and what is measured of the host is in the report, the status and the metrics."""
    async with world() as here, here.sidecar(health=OFTEN) as client, client.session():
        pushed = {"portfolio_value": 12.5, "market_data_age_s": 1.0}
        await client.push_health(metrics=pushed, errors=11, execution_queue="stalled")
        report = await here.arbiter.saw(HealthReport, lambda each: "errors_per_minute" in each.metrics)
        assert report.status == "CRITICAL"
        assert report.metrics["portfolio_value"] == 12.5
        assert report.metrics["market_data_age_s"] >= 1.0
        assert report.reasons == ("errors_per_minute is 11, above 10", "execution_queue_stalled is 1, above 0")
        await here.arbiter.saw(HealthReport, lambda each: {"host_load_1m", "sidecar_rss_bytes"} <= each.metrics.keys())
        status = await client.status()
        assert status.health is not None
        assert (status.health.status, status.health.metrics["execution_queue_state"]) == ("CRITICAL", 2.0)
        assert status.up_ns > 0
        text = await metrics(here)
        assert 'sidecar_figure{name="portfolio_value"} 12.5' in text
        assert 'sidecar_rule_broken{rule="queue-stalled"} 1.0' in text
        assert "sidecar_health_status 2.0" in text


async def test_an_age_that_grows_takes_the_slot() -> None:
    """A component that goes on pushing, but nothing on its market data, is unready once that is too old."""
    rules = {"market-data": {"metric": "market_data_age_s", "above": 0.2, "unready": True}}
    seldom = {"collect_interval_ms": 3_600_000, "rules": rules}
    async with world() as here, here.sidecar(health=seldom) as client, client.session() as session:
        await client.push_health(metrics={"market_data_age_s": 0.0})
        await session.until_open(PATIENCE_S)
        await client.push_health()
        unready = await here.arbiter.saw(Heartbeat, lambda each: each.incarnation and not each.ready)
        assert unready.reasons[0].endswith(", above 0.2")


async def test_a_file_that_is_too_old_keeps_the_slot_away_from_the_first_heartbeat_on() -> None:
    """No heartbeat calls a component ready whose configured file is too old, and it is ready once it is written."""
    async with world() as here:
        log = here.directory / "events.log"
        log.touch()
        os.utime(log, (time.time() - 900, time.time() - 900))
        rules = {"event-log": {"metric": "event_log_age_s", "above": 600, "unready": True}}
        async with here.sidecar(health={**OFTEN, "rules": rules}, component=watched(here, log)) as client:
            await here.arbiter.saw(HealthReport, lambda each: each.metrics["event_log_age_s"] > 600)
            async with client.session() as session:
                unready = await here.arbiter.saw(Heartbeat, lambda each: each.incarnation)
                assert (unready.ready, session.gate.check()) == (False, False)
                log.write_text("an event\n")
                await session.until_open(PATIENCE_S)


async def test_a_file_that_is_not_there_is_told() -> None:
    """A configured file that is missing makes the component DEGRADED at once, and says which."""
    async with world() as here:
        component = watched(here, here.directory / "no.log")
        async with here.sidecar(health=OFTEN, component=component) as client, client.session():
            report = await here.arbiter.saw(HealthReport, lambda each: each.incarnation and each.status != "HEALTHY")
            assert "no.log: No such file or directory" in report.reasons[0]


async def test_a_child_of_ours_is_measured() -> None:
    """The processes of a component that the sidecar has started are counted, with what they started."""
    child = (sys.executable, "-c", HOLDER.replace("sys.stdin.read()", "import signal; signal.pause()"))
    async with world() as here, here.sidecar(child=child, component=own(here), health=OFTEN):
        report = await here.arbiter.saw(HealthReport, lambda each: "process_cpu_ratio" in each.metrics)
        assert report.metrics["process_count"] >= 1
        assert report.metrics["process_rss_bytes"] > 0


async def test_nothing_of_an_earlier_run_counts() -> None:
    """Figures of a component that is gone are gone, and the next run begins without them."""
    async with world() as here, here.sidecar(health=OFTEN) as client:
        async with client.session():
            await client.push_health(metrics={"positions_open": 3.0}, errors=99)
            await here.arbiter.saw(HealthReport, lambda each: "positions_open" in each.metrics)
        here.arbiter.forget()
        async with client.session() as session:
            report = await here.arbiter.saw(HealthReport, lambda each: each.incarnation == session.incarnation)
            assert not {"positions_open", "errors_per_minute"} & report.metrics.keys()


async def test_custom_names_are_bounded() -> None:
    """A component that makes up names without end is DEGRADED for it, and costs a bounded number of series."""
    async with world() as here, here.sidecar() as client, client.session():
        for each in range(10):
            await client.push_health(metrics={f"order-{each}-{n}": 1.0 for n in range(60)})
        status = await client.status()
        assert status.health is not None
        assert status.health.status == "DEGRADED"
        assert "figures are not kept" in status.health.reasons[0]
        assert (await metrics(here)).count('name="order-') <= 128


@pytest.mark.parametrize(
    ("push", "named"),
    [
        ({"metrics": {"host_load_1m": 0.0}}, "host_load_1m"),
        ({"metrics": {"": 0.0}}, "metrics"),
        ({"metrics": {"x" * 129: 0.0}}, "metrics"),
        ({"metrics": {"two words": 0.0}}, "metrics"),
        ({"errors": -1}, "errors"),
        ({"errors": 10**12}, "errors"),
    ],
    ids=("ours", "empty", "long", "space", "negative", "absurd"),
)
async def test_pushes_that_cannot_be(push: dict[str, Any], named: str) -> None:
    """A figure under a name of the sidecar's own, or a count that is none, is refused by name."""
    async with world() as here, here.sidecar() as client, client.session():
        with pytest.raises(SidecarProblem, match=named) as refused:
            await client.push_health(**push)
        assert refused.value.code == "WRONG_FIELD"


async def test_a_push_is_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken rule takes the slot with the push that breaks it, and not only with the next judgement or look."""
    monkeypatch.setattr(health, "JUDGE_S", 3_600.0)
    rules = {"queue-stalled": {"metric": "execution_queue_stalled", "above": 0, "unready": True}}
    never = {"collect_interval_ms": 3_600_000, "report_interval_ms": 3_600_000, "rules": rules}
    async with world() as here, here.sidecar(health=never) as client, client.session() as session:
        await session.until_open(PATIENCE_S)
        await client.push_health(execution_queue="stalled")
        unready = await here.arbiter.saw(Heartbeat, lambda each: each.incarnation and not each.ready)
        assert unready.reasons == ("execution_queue_stalled is 1, above 0",)


async def test_the_last_snapshot_of_the_component() -> None:
    """GET /snapshot says how old the component's last snapshot is, and nothing before that is known."""
    async with world() as here, here.sidecar() as client, client.session():
        transport = httpx.AsyncHTTPTransport(uds=here.socket)
        async with httpx.AsyncClient(transport=transport, base_url="http://sidecar") as http:
            assert (await http.get("/snapshot")).json()["known"] is False
            await client.push_health(metrics={"snapshot_age_s": 60.0})
            found = (await http.get("/snapshot")).json()
    assert (found["of"], found["known"]) == ("component", True)
    assert found["age_s"] >= 60.0
