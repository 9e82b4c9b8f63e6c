"""The OpenAPI document of the local interface, and a running sidecar held to it by fuzzing."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi import checks
from sidecar_world import PATIENCE_S, world

from sidecar.agent.local_api import describe_api

DOCUMENT = describe_api()
Case = schemathesis.Case[Any]
STREAMS = ("/v1/session", "/v1/events")
TOKEN = "not-a-secret-but-long-enough"
EXAMPLES = 6
"""Of each operation and each mode; more find more and take longer."""
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of each."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_references_lead_somewhere() -> None:
    """Every reference in the document is to something in it."""
    text = json.dumps(DOCUMENT)
    for part in text.split('"$ref": "#/')[1:]:
        found: Any = DOCUMENT
        for name in part.split('"')[0].split("/"):
            found = found[name]
        assert found


def test_each_operation_is_described() -> None:
    """Each operation has a name of its own, a sentence, its answers and problems, and the body that it takes."""
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names) >= 14
    for path, method, operation in operations():
        assert operation["summary"], path
        assert {"200", "400", "401", "408", "413"} <= operation["responses"].keys(), path
        assert ("requestBody" in operation) is (method != "get"), path


def cases() -> list[Case]:
    """What to send, always the same. Made before the sidecar runs: Hypothesis wants the randomness for itself."""
    schema, found = from_dict(DOCUMENT), []

    def collect(path: str, method: str, mode: schemathesis.GenerationMode) -> None:
        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.generate],
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(schema[path][method].as_strategy(mode))
        def each(case: Case) -> None:
            found.append(case)

        each()

    asked = [(path, method) for path, method, _ in operations() if path not in STREAMS]
    for path, method in sorted(asked, key=lambda each: each[0] == "/v1/halt"):  # Halts last: they close the gate.
        for mode in MODES if method != "get" else MODES[:1]:  # There is nothing to make wrong in a GET.
            collect(path, method, mode)
    return found


async def test_fuzzed_sidecar_keeps_its_word() -> None:
    """Whatever is sent, each answer is one that the document names; a session and its heartbeats go on."""
    fuzzed, answers = await asyncio.to_thread(cases), Counter[str]()

    def send(url: str) -> None:
        for case in fuzzed:
            answer = case.call(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_S)
            answers[f"{case.method.lower()} {case.operation.path} {answer.status_code}"] += 1
            assert answer.status_code != 500, case.as_curl_command()
            case.validate_response(answer, checks=CHECKS)

    async with world() as here:
        token = here.directory / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        quick = {"precommit_timeout_ms": 20}
        tcp = {"tcp": {"token_file": str(token)}}
        async with here.sidecar(component=tcp, orders=quick) as client, client.session() as session:
            await session.until_open(PATIENCE_S)
            assert here.agent is not None
            await asyncio.to_thread(send, f"http://127.0.0.1:{here.agent.local_port}")
            assert not session.lost
            assert (await client.status()).component == "exec-a"
    assert {"post /v1/orders 200", "put /v1/state 200", "post /v1/halt 200"} <= answers.keys(), answers
