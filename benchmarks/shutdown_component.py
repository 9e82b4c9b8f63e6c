"""A component as small as one can be: the standard library, one session, and a deed for each measure.

Run by a sidecar as its child (`python -I -S shutdown_component.py DIRECTORY`), it has orders at a venue and a position,
needs a moment for each as a real venue does, writes its state to disk when asked, and lives until it is told to end.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

VENUE_S = 0.02
"""One round trip to a venue."""
ORDERS = 3


class Component:
    """One run. `directory` takes its process id and, when asked, its state."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = os.environ["SIDECAR_SOCKET"]
        self._orders = [f"{os.getpid()}-{each}" for each in range(ORDERS)]
        self._position = 100

    def run(self) -> None:
        """Until the session ends."""
        with socket.socket(socket.AF_UNIX) as session:
            session.connect(self._path)
            session.sendall(b"GET /v1/session HTTP/1.1\r\nHost: sidecar\r\n\r\n")
            for line in session.makefile("rb"):
                if line.startswith(b"{"):  # Between the lines are the sizes of HTTP's chunks.
                    self._hear(json.loads(line))

    def _hear(self, line: dict[str, Any]) -> None:
        if line["type"] == "session-opened.v1":
            (self._directory / f"{line['component']}.pid").write_text(str(os.getpid()))
        if line["type"] == "measure-asked.v1":
            self._do(line)

    def _do(self, asked: dict[str, Any]) -> None:
        remaining: list[str] = []
        match asked["measure"]:
            case "cancel":
                time.sleep(VENUE_S)
                self._orders = self._orders[:1] if asked["attempt"] < 2 else []  # One wants to be asked for twice.
                remaining = self._orders
            case "flatten":
                time.sleep(VENUE_S)
                self._position = 0
            case "persist":
                self._persist(asked["component"])
            case _:
                return  # The sidecar ends us.
        self._answer(asked, {"outcome": "failed" if remaining else "done", "remaining": remaining})

    def _persist(self, component: str) -> None:
        with (self._directory / f"{component}.saved").open("w") as file:
            json.dump({"orders": self._orders, "position": self._position}, file)
            file.flush()
            os.fsync(file.fileno())

    def _answer(self, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        head = (
            f"POST /v1/measures/{asked['halt_id']}/{asked['measure']} HTTP/1.1\r\nHost: sidecar\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        with socket.socket(socket.AF_UNIX) as call:
            call.connect(self._path)
            call.sendall(head.encode() + body)
            while call.recv(4096):
                pass


if __name__ == "__main__":
    Component(Path(sys.argv[1])).run()
