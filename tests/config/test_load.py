"""Loading: precedence, the environment, and errors that name field, value and mend."""

import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.load import ConfigError, load_settings
from sidecar.config.models import Settings
from sidecar.core.groups import Policy

SECRET = "hunter2"
PAIR = {"groups": {"execution": {"components": ["exec-a", "exec-b"]}}}


def load(tmp_path: Path, content: dict[str, Any] | str = "", suffix: str = ".json", **environ: str) -> Settings:
    path = tmp_path / f"config{suffix}"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_settings(path, environ=environ)


def refusal(tmp_path: Path, content: dict[str, Any] | str = "", suffix: str = ".json", **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, content, suffix, **environ)
    assert "pydantic" not in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.__cause__)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def urls(settings: Settings) -> list[str]:
    return [each.get_secret_value() for each in settings.broker.urls]


def test_nothing_given() -> None:
    """Without a file and variables the defaults hold."""
    assert load_settings(None, environ={}) == Settings()


def test_toml(tmp_path: Path) -> None:
    """A TOML file is read."""
    settings = load(tmp_path, '[groups.execution]\ncomponents = ["a", "b"]\n[timing]\ntick_ms = 50\n', ".toml")
    assert settings.groups["execution"].components == ("a", "b")
    assert settings.timing.tick_ms == 50


def test_environment_wins(tmp_path: Path) -> None:
    """A variable wins over the file, field by field, and the rest of its section stays."""
    file = {"timing": {"tick_ms": 50, "probe_ms": 700}}
    settings = load(tmp_path, file, SIDECAR_TIMING__TICK_MS="60", SIDECAR_RUN_DIR="/run/x", OTHER="y")
    assert (settings.timing.tick_ms, settings.timing.probe_ms, settings.run_dir) == (60, 700, "/run/x")


@pytest.mark.parametrize("value", ["amqp://a/,amqp://b/", '["amqp://a/", "amqp://b/"]', "amqp://a/ , amqp://b/,"])
def test_lists_in_variables(tmp_path: Path, value: str) -> None:
    """A list in a variable is JSON or separated by commas."""
    assert urls(load(tmp_path, {}, SIDECAR_BROKER__URLS=value)) == ["amqp://a/", "amqp://b/"]


def test_group_in_variables(tmp_path: Path) -> None:
    """A whole group can be declared in variables."""
    settings = load(
        tmp_path, {}, SIDECAR_GROUPS__EXECUTION__COMPONENTS="a,b", SIDECAR_GROUPS__EXECUTION__MODE="cluster"
    )
    assert settings.groups["execution"].components == ("a", "b")


def test_short_url(tmp_path: Path) -> None:
    """SIDECAR_AMQP_URL names the broker's nodes and wins over the file."""
    file = {"broker": {"urls": ["amqp://file/"], "amqp_heartbeat_s": 7}}
    settings = load(tmp_path, file, SIDECAR_AMQP_URL="amqp://a/,amqps://b/")
    assert urls(settings) == ["amqp://a/", "amqps://b/"]
    assert settings.broker.amqp_heartbeat_s == 7


def test_url_from_a_file(tmp_path: Path) -> None:
    """SIDECAR_AMQP_URL_FILE names a file that holds the URLs, one a line."""
    secret = tmp_path / "secret"
    secret.write_text("amqp://a/\namqp://b/\n")
    assert urls(load(tmp_path, {}, SIDECAR_AMQP_URL_FILE=str(secret))) == ["amqp://a/", "amqp://b/"]


def test_missing_secret_file(tmp_path: Path) -> None:
    """A secret's file that is not there is named, with its variable."""
    text = refusal(tmp_path, {}, SIDECAR_AMQP_URL_FILE=str(tmp_path / "none"))
    assert text.startswith("SIDECAR_AMQP_URL_FILE: the file ") and "No such file" in text


def test_broker_named_twice(tmp_path: Path) -> None:
    """Two variables that name the broker are refused, both named."""
    text = refusal(tmp_path, {}, SIDECAR_AMQP_URL="amqp://a/", SIDECAR_BROKER__URLS="amqp://b/")
    assert "SIDECAR_AMQP_URL and SIDECAR_BROKER__URLS are set" in text


@pytest.mark.parametrize("field", ["query_interval_ms", "report_deadline_ms"])
def test_absence_before_an_order_can_have_arrived(tmp_path: Path, field: str) -> None:
    """Deadlines within which an order may still be on its way to the venue are refused, with the least that will do."""
    text = refusal(tmp_path, {"orders": {field: 302}})
    assert f"orders.{field} is 302" in text and "raise it to at least 303" in text
    assert getattr(load(tmp_path, {"orders": {field: 303}}).orders, field) == 303


def test_unrelated_variables(tmp_path: Path) -> None:
    """Variables that are not settings and resemble none are left alone."""
    assert load(tmp_path, {}, SIDECAR_SERVICE_HOST="10.0.0.1", SIDECAR_PORT="tcp://10.0.0.1:1") == Settings()


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("SIDECAR_AMQP_URLS", "did you mean SIDECAR_AMQP_URL?"),
        ("SIDECAR_RUN_DIRS", "did you mean SIDECAR_RUN_DIR?"),
        ("SIDECAR_TIMNIG__TICK_MS", "there is no section 'timnig'; did you mean timing?"),
        ("SIDECAR_TIMING__TICKS_MS", "SIDECAR_TIMING__TICKS_MS: there is no such field; did you mean tick_ms?"),
    ],
)
def test_misspelt_variable(tmp_path: Path, name: str, mend: str) -> None:
    """A misspelt variable is refused, not ignored."""
    text = refusal(tmp_path, {}, **{name: "1"})
    assert name in text and mend in text


def test_unknown_field(tmp_path: Path) -> None:
    """An unknown field is named by its path, with the nearest known one."""
    text = refusal(tmp_path, {"timing": {"heartbeet_ms": 100}})
    assert text == "timing.heartbeet_ms: there is no such field; did you mean heartbeat_ms?"


def test_unknown_field_of_a_group(tmp_path: Path) -> None:
    """The nearest name is looked for in the right section, also inside a table of sections."""
    text = refusal(tmp_path, {"groups": {"execution": {"components": ["a"], "partition": ["x"]}}})
    assert text == "groups.execution.partition: there is no such field; did you mean partitions?"


def test_each_problem_has_its_line(tmp_path: Path) -> None:
    """Two problems are two sentences."""
    text = refusal(tmp_path, {"timing": {"tick_ms": 1}, "telemetry": {"log_format": "xml"}})
    lines = text.split("\n")
    assert lines == [
        "timing.tick_ms: the value 1 does not fit: input should be greater than or equal to 10",
        "telemetry.log_format: the value 'xml' does not fit: input should be 'json' or 'console'",
    ]


def test_wrong_variable_is_named(tmp_path: Path) -> None:
    """A wrong value from a variable is reported under the variable's name."""
    text = refusal(tmp_path, {"timing": {"tick_ms": 50}}, SIDECAR_TIMING__TICK_MS="soon")
    assert text.startswith("SIDECAR_TIMING__TICK_MS: the value 'soon' does not fit: input should be a valid integer")


def test_missing_field(tmp_path: Path) -> None:
    """A required field that is missing is named."""
    assert refusal(tmp_path, {"component": {}}) == "component.name: this field is required and missing; add it"


def test_broken_inequality(tmp_path: Path) -> None:
    """Times that would let two holders act are refused with the field, the value and the numbers."""
    text = refusal(tmp_path, {"timing": {"holder_lease_ms": 3000}})
    assert text.startswith("timing: holder_lease_ms 3000 ")
    assert "raise holder_wait_ms to at least 3364" in text


def test_two_broken_inequalities(tmp_path: Path) -> None:
    """Each broken inequality is a sentence of its own."""
    text = refusal(tmp_path, {"timing": {"holder_lease_ms": 3000, "leader_lease_ms": 5000}})
    assert [line.split()[:2] for line in text.split("\n")] == [
        ["timing:", "holder_lease_ms"],
        ["timing:", "leader_lease_ms"],
    ]


def test_component_in_no_group(tmp_path: Path) -> None:
    """A component that no group knows is named, with the groups and the nearest member."""
    text = refusal(tmp_path, {**PAIR, "component": {"name": "exec-c"}})
    assert text == (
        "component.name: 'exec-c' is in no group (groups: execution); "
        "add it to the components of one, or did you mean exec-b?"
    )


def test_component_without_groups(tmp_path: Path) -> None:
    """A component without any declared group is told how to declare one."""
    text = refusal(tmp_path, {"component": {"name": "exec-c"}})
    assert 'add [groups.NAME] with components = ["exec-c"]' in text


def test_component_in_two_groups(tmp_path: Path) -> None:
    """A component in two groups is refused, both named."""
    text = refusal(tmp_path, {"groups": {"one": {"components": ["a"]}, "two": {"components": ["a"]}}})
    assert text == "component 'a' is in groups 'one' and 'two': leave it in one"


def test_unknown_file() -> None:
    """A file that is not there is named."""
    with pytest.raises(ConfigError, match=r"^/nowhere/c\.toml: the file cannot be read \(No such file or directory\)"):
        load_settings(Path("/nowhere/c.toml"), environ={})


def test_unknown_format(tmp_path: Path) -> None:
    """A file of another kind is refused by its name."""
    assert "must end in .toml or .json" in refusal(tmp_path, "a: b", ".yaml")


@pytest.mark.parametrize(("content", "suffix"), [("a = 1\nb = \n", ".toml"), ('{"a": 1,\n"b": }', ".json")])
def test_unreadable_syntax(tmp_path: Path, content: str, suffix: str) -> None:
    """Bad syntax is reported with its line."""
    assert "line 2" in refusal(tmp_path, content, suffix)


def test_not_a_table(tmp_path: Path) -> None:
    """A file that holds a list is refused."""
    assert "it must hold a table of sections" in refusal(tmp_path, "[1]")


def test_not_utf8(tmp_path: Path) -> None:
    """A file that is not text is refused."""
    (tmp_path / "c.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="byte 0 is not UTF-8"):
        load_settings(tmp_path / "c.json", environ={})


def test_too_large(tmp_path: Path) -> None:
    """A file beyond the bound is not read."""
    assert "larger than" in refusal(tmp_path, " " * 2_000_000)


URL = f"amqp://trader:{SECRET}@broker/"


@pytest.mark.parametrize(
    "file",
    [
        {"broker": URL},
        {"broker": {"urls": URL}},
        {"broker": {"urls": [f"http://trader:{SECRET}@broker/"]}},
        {"broker": {"url": URL}},
        {"broker": {"password": SECRET}},
        {"broker": {"amqp_heartbeat_s": SECRET}},
        {"amqp_url": URL},
        {"groups": {"execution": {"components": [URL]}}},
        {"run_dir": [URL]},
    ],
)
def test_secrets_stay_hidden_in_files(tmp_path: Path, file: dict[str, Any]) -> None:
    """Whatever is wrong with a URL or a password in the file, the error does not show it."""
    assert refusal(tmp_path, file)


@pytest.mark.parametrize(
    "environ",
    [
        {"SIDECAR_AMQP_URL": f"http://trader:{SECRET}@broker/"},
        {"SIDECAR_BROKER__URLS": f'["amqp://trader:{SECRET}@broker/"'},
        {"SIDECAR_BROKER__URL": URL},
        {"SIDECAR_BROKER": URL},
        {"SIDECAR_AMQPURL": URL},
    ],
)
def test_secrets_stay_hidden_in_variables(tmp_path: Path, environ: dict[str, str]) -> None:
    """Whatever is wrong with a URL in a variable, the error names the variable and does not show it."""
    assert next(iter(environ)) in refusal(tmp_path, {}, **environ)


def test_secrets_stay_hidden_in_settings() -> None:
    """Printing the settings shows no URL."""
    settings = load_settings(None, environ={"SIDECAR_AMQP_URL": URL})
    assert SECRET not in repr(settings) + settings.model_dump_json()


def test_wrong_scheme(tmp_path: Path) -> None:
    """A broker URL of another scheme is refused at once, not retried for ever."""
    text = refusal(tmp_path, {"broker": {"urls": ["localhost:5672"]}})
    assert (
        text
        == "broker.urls.0: the URL must begin with amqp:// or amqps://, for example amqp://user:password@host:5672/"
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"preference": {"exec-c": "prefer"}}, "'exec-c', which is not in components"),
        ({"preference": {"exec-a": "never", "exec-b": "never"}}, "nobody could act"),
        ({"preference": {"exec-a": "always"}}, "preference"),
        ({"min_active": 2}, "min_active is 2 but there are 1 slots"),
        ({"block_window_ms": -1}, "block_window_ms"),
    ],
)
def test_policies_that_cannot_hold(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    """A group's policy that contradicts its members or slots is refused with what to change."""
    group = {"components": ["exec-a", "exec-b"], **fields}
    assert says in refusal(tmp_path, {"groups": {"execution": group}})


def test_policies_reach_the_core(tmp_path: Path) -> None:
    """Every policy field arrives at the core, in its units."""
    group = {
        "components": ["exec-a", "exec-b"],
        "mode": "n_plus_one",
        "active": 2,
        "preference": {"exec-b": "prefer", "exec-a": "never"},
        "min_active": 2,
        "block_window_ms": 7,
        "promotion_backoff_ms": 8,
        "promotion_backoff_max_ms": 5,
        "unready_failover_ms": 9,
        "standby": {"exec-a": "cold", "exec-b": "warm"},
        "start_limit_ms": 100,
        "state_lag_max_ms": 11,
    }
    (plan,) = load(tmp_path, {"groups": {"execution": group}}).plans()
    assert plan.ranked == ("exec-b",)
    assert plan.policy == Policy(
        prefer=frozenset({"exec-b"}),
        never=frozenset({"exec-a"}),
        min_active=2,
        block_window_ns=7_000_000,
        backoff_ns=8_000_000,
        backoff_max_ns=8_000_000,
        unready_ns=9_000_000,
        warm=frozenset({"exec-b"}),
        cold=frozenset({"exec-a"}),
        start_limit_ns=100_000_000,
        state_lag_ns=11_000_000,
    )


def test_standby_names_members_only(tmp_path: Path) -> None:
    """A kind of standby for a component that is not in the group is refused with the mend."""
    group = {"components": ["exec-a"], "standby": {"exec-b": "cold"}}
    said = refusal(tmp_path, {"groups": {"execution": group}})
    assert "standby names 'exec-b', which is not in components: add it there or remove it here" in said
