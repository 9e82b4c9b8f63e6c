"""The route of measures on the local interface: POST /v1/measures/{halt_id}/{measure}.

Owns what makes its body unacceptable. It must not decide; `measures.py` asks.
"""

from typing import Any, Final, get_args

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from sidecar.agent.bodies import read_body
from sidecar.agent.openapi import described
from sidecar.agent.parts import Parts
from sidecar.agent.problems import Refused
from sidecar.messages.local import MeasureAnswer, Text
from sidecar.messages.measures import MEASURES, Measure, MeasureOutcome

NAMES_MAX: Final = 10_000
"""Names of what remains, in one answer."""


@post(
    "/v1/measures/{halt_id:str}/{measure:str}",
    status_code=200,
    opt=described(
        takes=MeasureAnswer,
        path={"halt_id": Text, "measure": Measure},
        refuses={
            400: "NOT_JSON, WRONG_FIELD: the body is not an answer.",
            404: "NOT_ASKED: no such measure was asked for.",
        },
    ),
)
async def answer_measure(
    request: Request[Any, Any, Any], halt_id: FromPath[str], measure: FromPath[str], parts: NamedDependency[Parts]
) -> MeasureOutcome:
    """What came of a measure that a line of the session asked for."""
    answer = await read_body(request, MeasureAnswer)
    if len(answer.remaining) > NAMES_MAX:
        raise Refused(400, "WRONG_FIELD", f"remaining has more than {NAMES_MAX} names", "name fewer of them")
    known = next((each for each in get_args(Measure) if each == measure), None)
    outcome = parts.measures.answer(halt_id, known, answer) if known is not None else None
    if outcome is None:
        text = f"no measure {measure[:40]!r} of halt {halt_id[:80]!r} was asked for"
        raise Refused(404, "NOT_ASKED", text, f"answer what a measure-asked line of the session asks: {MEASURES}")
    return outcome
