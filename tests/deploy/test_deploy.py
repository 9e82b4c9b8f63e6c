"""docker-compose.yml and deploy/ agree with each other and the code, as far as can be seen without running them."""

import base64
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from sidecar import __version__
from sidecar.broker.users import password_hash, user_definitions
from sidecar.cli.users import users_of
from sidecar.config.load import load_settings
from sidecar.config.models import Settings
from sidecar.core.component_figures import TRADING_FIGURES
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


MEASURED = {"host_network_errors_per_s", "process_rss_bytes"}
"""Figures on the dashboard that the sidecar measures itself."""
PROCESSES = sorted(
    name for name, each in services().items() if each["image"] == "trading-sidecar" and "profiles" not in each
)
OTHERS = sorted(name for name, each in services().items() if each["image"] == "trading-sidecar" and "profiles" in each)
DEFINITIONS = json.loads((DEPLOY / "rabbitmq" / "definitions.json").read_text())


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
    """Each process logs in as a user of its own, which is in the definitions, with its name for a password."""
    defined = {each["name"]: each["password_hash"] for each in DEFINITIONS["users"]}
    for service in PROCESSES:
        (login,) = {urlsplit(url.get_secret_value())[1].partition("@")[0] for url in settings(service).broker.urls}
        user, _, password = login.partition(":")
        assert defined[user] == password_hash(password, base64.b64decode(defined[user])[:4])
    users = [urlsplit(settings(each).broker.urls[0].get_secret_value()).username for each in PROCESSES]
    assert len(set(users)) == len(PROCESSES)


def test_rights_are_the_generated_ones() -> None:
    """The definitions hold the users and the rights that the configuration asks for, and nothing else."""
    made = user_definitions(users_of(settings("arbiter-1")))
    assert {each["name"] for each in made["users"]} == {each["name"] for each in DEFINITIONS["users"]}
    assert {part: made[part] for part in ("permissions", "topic_permissions")} == {
        part: DEFINITIONS[part] for part in ("permissions", "topic_permissions")
    }


def test_the_encrypted_system_uses_no_password() -> None:
    """Every process of the profile tls names a certificate to log in with, and no password; its user is defined."""
    tls = [each for each in OTHERS if services()[each]["profiles"] == ["tls"]]
    assert len(tls) == 3
    for name in tls:
        given = environment(name)
        assert given["SIDECAR_AMQP_URL"].startswith("amqps://")
        assert urlsplit(given["SIDECAR_AMQP_URL"]).password is None
        assert given["SIDECAR_BROKER__TLS__LOG_IN"] == "true"
        user = urlsplit(given["SIDECAR_AMQP_URL"]).username
        assert given["SIDECAR_BROKER__TLS__CERT_FILE"] == f"/certificates/{user}.pem"
        assert user in {each["name"] for each in DEFINITIONS["users"]}
    assert not [each for each in tls if any("PASSWORD" in name for name in environment(each))]


def test_every_process_is_scraped() -> None:
    """Prometheus has every process as a target, at the port where the process serves its metrics."""
    scrapes = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {target for each in scrapes for static in each["static_configs"] for target in static["targets"]}
    assert {f"{name}:{settings(name).telemetry.port}" for name in PROCESSES} <= targets


def published() -> set[str]:
    """Every series that some process of ours publishes."""
    sidecar = SidecarMetrics(__version__)
    sidecar.figures.figures = lambda: {"positions_open": 0.0}  # Families with a label show nothing before there is one.
    sidecar.figures.rules = lambda: {"errors": False}
    sidecar.broker.findings = lambda: {"critical": 0}
    every: list[Metrics] = [
        sidecar,
        ArbiterMetrics(__version__, ["execution"]),
        ReconcilerMetrics(__version__),
        VenueMetrics(__version__),
        ArchiveMetrics(__version__),
    ]
    return {sample.name for each in every for family in each.registry.collect() for sample in family.samples}


def test_alerts_use_metrics_that_exist() -> None:
    """Each metric of ours in an alert rule is one that a process publishes."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"][0]["rules"]
    used = {name for rule in rules for name in re.findall(r"\bsidecar_\w+", rule["expr"])}
    assert used
    assert used <= published()


def test_the_dashboard_uses_figures_that_exist() -> None:
    """Each metric of ours on the dashboard is published, and each figure that it names is one of a fixed name."""
    panels = json.loads((DEPLOY / "grafana" / "trading-sidecar.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    used = {name for each in asked for name in re.findall(r"\bsidecar_\w+", each)}
    assert len(asked) > 10
    assert used <= published()
    named = {name for each in asked for name in re.findall(r'sidecar_figure{name="(\w+)"}', each)}
    assert named - MEASURED <= TRADING_FIGURES.keys()
    assert len({panel["id"] for panel in panels}) == len(panels)
