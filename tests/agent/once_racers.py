"""Many processes that want to do one thing: forked at once, each with a client of its own, for test_once_race.py.

Usage: python once_racers.py SOCKET COUNT KEY LEDGER [crash|hold]. Each run that really happens is a line in LEDGER, and
each process prints how it ended. With `crash` whoever may run it is killed in the middle; with `hold` it waits there
until somebody writes to the pipe LEDGER.go.
"""

import os
import signal
import sys
from pathlib import Path

from sidecar.client import SidecarSyncClient
from sidecar.client.once import once_sync
from sidecar.client.once_effect import OnceUnknown

WAIT_S = 20.0


def race(socket: str, key: str, ledger: Path, middle: str) -> str:
    """One process's part; says what came of it."""
    with SidecarSyncClient(socket, timeout_s=WAIT_S) as client:
        try:
            limit_s = 0.5 if middle == "crash" else WAIT_S
            with once_sync(key, "place", client=client, wait_s=WAIT_S, limit_s=limit_s) as effect:
                if effect.due:
                    with ledger.open("a") as lines:
                        lines.write(f"{os.getpid()}\n")
                    if middle == "crash":
                        os.kill(os.getpid(), signal.SIGKILL)
                    if middle == "hold":
                        ledger.with_suffix(".go").read_text()
                    effect.done(f"run by {os.getpid()}")
        except OnceUnknown:
            return "UNKNOWN"
    return str(effect.result)


def main() -> None:
    """Fork them all, then let them loose together."""
    socket, count, key, ledger, *middle = sys.argv[1:]
    waiting, go = os.pipe()
    for _ in range(int(count)):
        if os.fork() == 0:
            os.close(go)
            os.read(waiting, 1)  # Ends when the last writer, the parent, has closed it.
            told = race(socket, key, Path(ledger), "".join(middle))
            os.write(1, f"{told}\n".encode())
            os._exit(0)
    os.close(go)
    for _ in range(int(count)):
        os.wait()


if __name__ == "__main__":
    main()
