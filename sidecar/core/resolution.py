"""The answer to an operator who settles a break, a difference, a finding or a side effect.

Owns its making. It must not decide whether the operator may, nor what settling does: whoever owns the thing does.
"""

from sidecar.core.outputs import Origin, Reply
from sidecar.messages.control import CommandResult


def resolution(arbiter: str, request_id: str, origin: Origin, problem: str, done: str) -> Reply:
    """REFUSED with the problem, or RESOLVED with what was done when there is none (empty)."""
    result = CommandResult(
        arbiter=arbiter,
        request_id=request_id,
        ok=not problem,
        code="REFUSED" if problem else "RESOLVED",
        text=problem or done,
    )
    return Reply(result, origin)
