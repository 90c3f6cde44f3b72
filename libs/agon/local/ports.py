"""TCP ports on this machine."""

import errno
import os
import socket
from collections import deque

LOOPBACK = "127.0.0.1"
_MOST_HELD = 256
_held: deque[int] = deque()  # file descriptors


def free_port(host: str = LOOPBACK) -> int:
    """A port that nobody has. On Linux the kernel gives it to nobody else while this process lives, who does not ask
    for this very one, or until many more were asked for; elsewhere somebody may take it before it is bound: be ready to
    ask again.
    """
    # Bound, and not listening: whoever allows that an address is used again, as servers do, may bind it too.
    probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind((host, 0))
    port = int(probe.getsockname()[1])
    if is_free(host, port):
        _held.append(probe.detach())
    else:  # on this system that does not go
        probe.close()
    while len(_held) > _MOST_HELD:
        os.close(_held.popleft())
    return port


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises `OSError` when the host is not one of this machine's."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family) as probe:
        # As servers do it: a connection of an earlier server that is still closing does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
