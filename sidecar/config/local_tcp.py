"""The section of the local interface on loopback TCP. Owns its fields; who listens is `agent/loopback.py`."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from sidecar.config.section import Section


def _loopback(host: str) -> str:
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError(
            "this is not a loopback address: set it to 127.0.0.1 or ::1; the interface is for this host only"
        )
    return host


class LocalTcpSettings(Section):
    """The local interface on loopback TCP too, for components that cannot reach a Unix socket."""

    port: int = Field(0, ge=0, le=65535, description="0 takes a free one and logs it.")
    host: Annotated[str, AfterValidator(_loopback)] = Field(
        "127.0.0.1", description="A loopback address; any other is refused."
    )
    token_file: str = Field(
        min_length=1,
        description="The file of the token that each request must carry, 16 characters or more. Others must not be "
        "able to read it. Anybody who has it can halt the system.",
    )
