"""A port that was given out is nobody else's before its server has it."""

import socket
import sys

import pytest

from agon.local import ports
from agon.local.ports import LOOPBACK, free_port, is_free


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a port that is held cannot be bound by its server either"
)
def test_nobody_who_asks_for_any_port_gets_it_and_its_server_can_listen() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, port))  # as the kernel looks at it when it chooses one
    assert is_free(LOOPBACK, port)
    with (
        socket.create_server((LOOPBACK, port)) as server,
        socket.create_connection((LOOPBACK, port), 60) as client,
        server.accept()[0] as accepted,
    ):
        client.sendall(b"x")
        assert accepted.recv(1) == b"x"
        assert not is_free(LOOPBACK, port)


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MOST_HELD", len(ports._held) + 2)
    given = [free_port() for _ in range(3)]
    assert len(set(given)) == 3
    assert len(ports._held) <= ports._MOST_HELD
