"""Bring docker-compose.yml up, see orders flow, kill the active container, see the standby take over, take it down.

Needs Python 3.11 and a Docker engine with Compose; installs nothing. Bounded in time; exits 0 only if every step
really happened. Prints what it measured and writes it to build/compose.json.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
PAIR = ("exec-a", "exec-b")
ARBITERS = ("arbiter-1", "arbiter-2")
PROCESSES = (*ARBITERS, *PAIR, "md-a", "venue", "reconciler", "archive")
NODES = 3
PROJECT = "sidecar-compose-check"
ENVIRONMENT = {
    # Free ports on the host, so that a system that runs already is not in the way.
    "MANAGEMENT_PORT": "0",
    "PROMETHEUS_PORT": "0",
    # The host's network reaches the package index wherever the host does; a container's own may not.
    "BUILD_NETWORK": "host",
    **os.environ,
}
COMPOSE = ("docker", "compose", "-p", PROJECT)
READ = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9100/metrics', timeout=2).read().decode())"
# Runs in the standby's container and prints the wall clock when its gate is first seen open, to about 10 ms.
AWAIT_OPEN = """
import sys, time, urllib.request
print("watching", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    page = urllib.request.urlopen("http://127.0.0.1:9100/metrics", timeout=2).read().decode()
    if "\\nsidecar_gate_open 1.0" in page:
        print(time.time(), flush=True)
        break
    time.sleep(0.01)
"""
BUILD_S, UP_S, FLOW_S, TAKEOVER_S, DOWN_S = 600.0, 240.0, 120.0, 30.0, 120.0
ENOUGH_ORDERS = 20
Seen = TypeVar("Seen")


class StepFailed(Exception):
    """A step did not happen; the text says which."""


def compose(*arguments: str, timeout_s: float = 60.0) -> str:
    """What `docker compose ...` printed; StepFailed with its last words otherwise."""
    try:
        done = subprocess.run(
            [*COMPOSE, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise StepFailed(f"docker compose {arguments[0]} did not end within {timeout_s:.0f} s") from error
    if done.returncode:
        raise StepFailed(f"docker compose {arguments[0]} ended with {done.returncode}: {done.stderr[-1500:]}")
    return done.stdout


def figures(service: str) -> dict[str, float]:
    """The service's metrics by name with labels; empty while it does not answer."""
    try:
        page = compose("exec", "-T", service, "python", "-c", READ)
    except StepFailed:
        return {}
    return {name: float(value) for name, value in re.findall(r"^([^#\s]\S*) (\S+)$", page, re.MULTILINE)}


def wait_for(what: str, look: Callable[[], Seen | None], timeout_s: float) -> Seen:
    """What `look` returns once it returns something; StepFailed when it does not in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if (seen := look()) is not None:
            return seen
        time.sleep(0.5)
    raise StepFailed(f"not seen within {timeout_s:.0f} s: {what}")


def orders(phase: str) -> float:
    """Orders that entered the phase, as the leading arbiter has counted them; 0 while none leads."""
    for page in map(figures, ARBITERS):
        if page.get("sidecar_is_leader") == 1.0:
            return page.get(f'sidecar_orders_total{{phase="{phase}"}}', 0.0)
    return 0.0


def more_verified_than(count: float) -> float | None:
    """The number of VERIFIED orders once enough have come after the first `count`."""
    return total if (total := orders("VERIFIED")) >= count + ENOUGH_ORDERS else None


def active() -> str | None:
    """The member of the pair whose gate is open, if exactly one is."""
    holders = [service for service in PAIR if figures(service).get("sidecar_gate_open") == 1.0]
    return holders[0] if len(holders) == 1 else None


def check_replicas() -> int:
    """The number of durable queues and streams; StepFailed when one of them is not on every node."""
    command = ("rabbitmqctl", "--quiet", "--formatter", "json", "list_queues", "name", "type", "members")
    rows = json.loads(compose("exec", "-T", "broker-1", *command))
    replicated = [row for row in rows if row["type"] in ("quorum", "stream")]
    lacking = [row["name"] for row in replicated if len(row["members"]) < NODES]
    if lacking or not replicated:
        raise StepFailed(f"not on all {NODES} nodes: {', '.join(lacking) or 'there is no replicated queue at all'}")
    return len(replicated)


def kill_and_watch(victim: str, standby: str) -> float:
    """Milliseconds from the end of the victim's container to the standby's open gate."""
    container = compose("ps", "--quiet", victim).strip()
    watch = (*COMPOSE, "exec", "-T", standby, "python", "-c", AWAIT_OPEN, str(TAKEOVER_S))
    watcher = subprocess.Popen(
        watch, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    limit = threading.Timer(TAKEOVER_S + 30, watcher.kill)
    limit.start()
    try:
        lines = iter(watcher.stdout or ())
        next(lines, "")
        compose("kill", victim)
        opened = next(lines, "").strip()
    finally:
        limit.cancel()
        watcher.kill()
        watcher.communicate()
    if not opened:
        raise StepFailed(f"{standby} did not open its gate within {TAKEOVER_S:.0f} s after {victim} was killed")
    ended = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.FinishedAt}}", container],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    # Go prints nanoseconds; datetime reads microseconds.
    killed = datetime.fromisoformat(re.sub(r"(\.\d{1,6})\d*Z", r"\1+00:00", ended.strip()))
    return (float(opened) - killed.timestamp()) * 1000


def targets_up() -> int | None:
    """How many targets Prometheus reaches, once that is all but the killed one."""
    # Asked from a container of ours: the host's port is a free one and Prometheus's image need not have a client.
    query = "http://prometheus:9090/api/v1/query?query=sum(up)"
    script = f"import urllib.request as u; print(u.urlopen({query!r}, timeout=5).read().decode())"
    try:
        answer = json.loads(compose("exec", "-T", "arbiter-1", "python", "-c", script))
    except (StepFailed, ValueError):
        return None
    result = answer["data"]["result"]
    count = int(result[0]["value"][1]) if result else 0
    return count if count == len(PROCESSES) - 1 + NODES else None


class Steps:
    """Says each step with the time it took, and keeps what was measured."""

    def __init__(self) -> None:
        self.measured: dict[str, float | str] = {}
        self._last_s = time.monotonic()

    def done(self, what: str, **measured: float | str) -> None:
        """The step is behind us."""
        now_s = time.monotonic()
        print(f"compose: {what} ({now_s - self._last_s:.1f} s)", flush=True)
        self._last_s = now_s
        self.measured |= measured


def check(steps: Steps) -> None:
    """Every step in order; StepFailed at the first that does not happen."""
    compose("build", timeout_s=BUILD_S)
    steps.done("the image is built")
    compose("up", "--detach", timeout_s=UP_S)
    steps.done("everything is started")
    before = wait_for("orders VERIFIED", lambda: more_verified_than(0), FLOW_S)
    steps.done(f"orders flow: {before:.0f} VERIFIED")
    queues = check_replicas()
    steps.done(f"all {queues} durable queues and streams are on {NODES} nodes", replicated_queues=queues)
    victim = wait_for("exactly one open gate in the pair", active, FLOW_S)
    standby = next(service for service in PAIR if service != victim)
    failover_ms = round(kill_and_watch(victim, standby), 1)
    steps.done(f"{victim} was killed; {standby} opened its gate after {failover_ms:.0f} ms", failover_ms=failover_ms)
    at_takeover = orders("VERIFIED")
    after = wait_for("orders VERIFIED after the takeover", lambda: more_verified_than(at_takeover), FLOW_S)
    if active() != standby:
        raise StepFailed(f"orders flow, but not through {standby} alone")
    steps.done(f"orders go on: {after:.0f} VERIFIED", verified_before=before, verified_after=after)
    reached = wait_for("Prometheus reaches all but the killed one", targets_up, FLOW_S)
    breaks = orders("BREAK")
    if breaks:
        raise StepFailed(f"{breaks:.0f} orders differ from what the venue says")
    steps.done(f"Prometheus reaches {reached} targets; no order is a BREAK", targets_up=reached)


def main() -> int:
    """0 when every step happened. The containers go in any case, their last words are printed when one did not."""
    steps = Steps()
    try:
        check(steps)
    except StepFailed as failure:
        print(f"compose: FAILED: {failure}", flush=True)
        subprocess.run([*COMPOSE, "ps", "--all"], cwd=ROOT, env=ENVIRONMENT, timeout=60)
        subprocess.run([*COMPOSE, "logs", "--tail", "20"], cwd=ROOT, env=ENVIRONMENT, timeout=60)
        return 1
    finally:
        compose("down", "--volumes", "--timeout", "2", timeout_s=DOWN_S)
        steps.done("everything is removed")
    out = ROOT / "build" / "compose.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(steps.measured, indent=2) + "\n")
    print(f"compose: passed: {json.dumps(steps.measured)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
