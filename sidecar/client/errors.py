"""What can go wrong between a component and its sidecar.

Owns the errors that a component catches. None of them says that an order reached a venue or did not: only the
component and the venue know that.
"""

from sidecar.messages.orders import OrderDenied


class SidecarError(Exception):
    """The base of all errors of the client."""


class SidecarUnreachable(SidecarError):
    """No answer from the sidecar: treat the gate as closed, and what was asked as not granted."""


class SidecarProblem(SidecarError):
    """The sidecar answered with a `Problem`: `code` for programs, `text` and `mend` for people."""

    def __init__(self, code: str, text: str, mend: str = "") -> None:
        super().__init__(f"{code}: {text}" + (f" ({mend})" if mend else ""))
        self.code, self.text, self.mend = code, text, mend


class SessionLost(SidecarError):
    """The session ended: the gate is closed, and the slots are given back. The text says why, if the sidecar could."""


class OrderRefused(SidecarError):
    """The order was DENIED and must not be sent: `code` for programs, `text` for people.

    `denied` is the whole answer: where a limit denies, with `scope`, `asked`, `limit` and `current`.
    """

    def __init__(self, denied: OrderDenied) -> None:
        super().__init__(f"{denied.code}: {denied.text}")
        self.code, self.text, self.denied = denied.code, denied.text, denied
