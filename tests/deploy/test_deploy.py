"""docker-compose.yml and deploy/ agree with each other and the code, as far as can be seen without running them."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from sidecar import __version__
from sidecar.config.load import load_settings
from sidecar.config.models import Settings
from sidecar.telemetry.metrics import (
    ArbiterMetrics,
    ArchiveMetrics,
    Metrics,
    ReconcilerMetrics,
    SidecarMetrics,
    VenueMetrics,
)

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def services() -> dict[str, dict[str, Any]]:
    """The services of docker-compose.yml by name."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])


def environment(service: str) -> dict[str, str]:
    """The variables of one service."""
    return dict(services()[service].get("environment", {}))


def settings(service: str) -> Settings:
    """What the process in that service reads."""
    return load_settings(DEPLOY / "compose" / "sidecar.toml", environ=environment(service))


PROCESSES = sorted(name for name, each in services().items() if each["image"] == "trading-sidecar")


@pytest.mark.parametrize("service", PROCESSES)
def test_configuration_loads(service: str) -> None:
    """Each process of the compose file gets a configuration that is accepted, with all three broker nodes."""
    hosts = [urlsplit(url.get_secret_value()).hostname for url in settings(service).broker.urls]
    assert hosts == ["broker-1", "broker-2", "broker-3"]


def test_groups_have_their_members() -> None:
    """Every member of every group is a service that calls itself so."""
    members = {name for group in settings("arbiter-1").groups.values() for name in group.components}
    named = {name for name in PROCESSES if environment(name).get("SIDECAR_COMPONENT__NAME") == name}
    assert members == named


def test_users_exist() -> None:
    """Each user that a process logs in as, or that the configuration trusts, is in the definitions."""
    defined = {each["name"] for each in json.loads((DEPLOY / "rabbitmq" / "definitions.json").read_text())["users"]}
    urls = [url.get_secret_value() for service in PROCESSES for url in settings(service).broker.urls]
    trust = settings("arbiter-1").security
    assert {urlsplit(url).username for url in urls} | {*trust.operators, *trust.arbiters} == defined


def test_every_process_is_scraped() -> None:
    """Prometheus has every process as a target, at the port where the process serves its metrics."""
    scrapes = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {target for each in scrapes for static in each["static_configs"] for target in static["targets"]}
    assert {f"{name}:{settings(name).telemetry.port}" for name in PROCESSES} <= targets


def test_alerts_use_metrics_that_exist() -> None:
    """Each metric of ours in an alert rule is one that a process publishes."""
    every: list[Metrics] = [
        SidecarMetrics(__version__),
        ArbiterMetrics(__version__, ["execution"]),
        ReconcilerMetrics(__version__),
        VenueMetrics(__version__),
        ArchiveMetrics(__version__),
    ]
    published = {sample.name for each in every for family in each.registry.collect() for sample in family.samples}
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"][0]["rules"]
    used = {name for rule in rules for name in re.findall(r"\bsidecar_\w+", rule["expr"])}
    assert used
    assert used <= published
