"""`python leash.py PARENT_PID PROGRAM [ARGUMENT ...]`: becomes PROGRAM, which then cannot outlive PARENT_PID.

Owns one system call: prctl(2) PR_SET_PDEATHSIG, which survives execve(2). The kernel sends SIGKILL when the parent dies
in whatever way, so no process of the demo is ever left behind. It is run by its path, imports nothing of ours and is
gone after the exec; a `preexec_fn` would do the same, but is unsafe beside threads (subprocess documentation).
"""

import ctypes
import os
import signal
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1
"""<linux/prctl.h>"""


def main() -> NoReturn:
    """Tie this process to its parent, make sure the parent did not die before that, and exec."""
    parent, program, *_ = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        sys.exit(f"the parent {parent} is gone")
    os.execv(program, sys.argv[2:])


if __name__ == "__main__":
    main()
