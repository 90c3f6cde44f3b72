"""What `agon status` shows a person."""

from agon.cli.status import _table
from agon.local.state import BackendState, ServiceState, StackState


def test_a_long_address_makes_no_other_line_longer_than_a_terminal() -> None:
    server = ServiceState("postgres", 1234567, "running")
    state = StackState(http="http://127.0.0.1:8000")
    state.backends["postgres"] = BackendState(f"postgresql://agon:{'x' * 60}@127.0.0.1:54321/agon", "embedded", server)
    state.services += [
        ServiceState("inference-1", None, "restarting", restarts=12),
        ServiceState("rating_compute", 1234568, "running"),
    ]
    api, postgres, worker, rating = _table(state).splitlines()
    assert api.split() == ["api", "http://127.0.0.1:8000"]
    assert postgres.split()[:4] == ["postgres", "running", "process", "1234567"]
    assert worker.split() == ["inference-1", "restarting", "restarts:", "12"]
    assert max(map(len, (api, worker, rating))) < 80
