"""The alert rules fire when they should: Prometheus' own tool runs deploy/prometheus/rules_test.yml."""

import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"
IMAGE = "prom/prometheus"
ANSWER_S = 60


def promtool() -> list[str]:
    """How to run promtool on the files of RULES; nothing is pulled for it."""
    if found := shutil.which("promtool"):
        return [found]
    docker = shutil.which("docker")
    if docker is None or _run([docker, "image", "inspect", IMAGE]).returncode:
        pytest.skip(f"no promtool on PATH, and no image {IMAGE} here to run it from")
    mounted = ["-v", f"{RULES}:{RULES}:ro", "--network", "none", "--entrypoint", "promtool"]
    return [docker, "run", "--rm", *mounted, IMAGE]


@pytest.mark.parametrize("check", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")], ids=" ".join)
def test_prometheus_accepts_and_fires_the_alerts(check: tuple[str, ...]) -> None:
    """Every rule is well formed, and the alerts about groups and orders fire after their time and not before."""
    *words, name = check
    done = _run([*promtool(), *words, str(RULES / name)])
    assert done.returncode == 0, done.stdout + done.stderr


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)
