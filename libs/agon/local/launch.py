"""What a child is for a moment before it becomes the program: `launch.py PARENT SIGNAL UID GID -- PROGRAM...`.

It gives up root where the program must not have it, asks the kernel for SIGNAL when PARENT dies (Linux), and becomes
the program. Both must happen in the child: changing the user clears the wish, and `exec` keeps it. All imports come
first, because the new user may not be able to read Python. Run as a file with `python -I -S`: about 25 ms.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, signal, uid, gid = map(int, arguments[:4])
    program = arguments[5:]
    system = ctypes.CDLL(None)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        system.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)
        if os.getppid() != parent:  # it died before the wish was made
            sys.exit(1)
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
