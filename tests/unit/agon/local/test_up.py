import signal
import socket

import pytest

from agon.errors import SetupError
from agon.local.up import check_host, choose_port, model_spec, stopping_signals


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "localhost", "::1"])
def test_loopback_needs_no_permission(host: str) -> None:
    check_host(host, allowed=False)


def test_a_host_for_everybody_is_refused_unless_it_is_meant() -> None:
    with pytest.raises(SetupError, match="--insecure"):
        check_host("0.0.0.0", allowed=False)
    check_host("0.0.0.0", allowed=True)


def test_a_taken_port_is_an_error_if_it_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port} is taken.*--port"):
            choose_port("127.0.0.1", port)


def test_a_terminal_that_goes_ends_it_unless_it_was_started_with_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert stopping_signals() == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert stopping_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_port_zero_is_any_port() -> None:
    assert choose_port("127.0.0.1", 0) > 0


def test_without_a_port_a_taken_usual_one_is_gone_around(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr("agon.local.up.USUAL_PORT", other.getsockname()[1])
        assert choose_port("127.0.0.1", None) != other.getsockname()[1]


def test_an_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(SetupError, match="no address of this machine"):
        choose_port("192.0.2.1", 8000)


def test_a_hub_id_alone_is_served_under_its_own_name() -> None:
    assert model_spec("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B=Qwen/Qwen3-0.6B"
    assert model_spec("q=Qwen/Qwen3-0.6B") == "q=Qwen/Qwen3-0.6B"


@pytest.mark.parametrize("spec", ["a=", "=b", "a b=c", "a=upstream:nowhere", "a=/no/such/folder"])
def test_a_model_that_says_nothing_is_refused_at_once(spec: str) -> None:
    with pytest.raises(SetupError, match="model"):
        model_spec(spec)
