import json

import pytest

from agon.local.services import services, shared_environment


def test_a_stack_has_its_workers_numbered_from_one_and_each_service_once() -> None:
    names = [service.name for service in services("127.0.0.1", 8000, 3, ())]
    assert names == [
        *("inference-1", "inference-2", "inference-3"),
        *("ingress", "recorder", "vote_ingest", "rating_compute"),
    ]


def test_given_models_go_to_the_workers_as_json_and_to_nobody_else() -> None:
    made = services("127.0.0.1", 8000, 1, ("a=b", "c=scripted:text=x"))
    assert json.loads(made[0].environment["AGON_MODELS"]) == ["a=b", "c=scripted:text=x"]
    assert not any("AGON_MODELS" in service.environment for service in made[1:])


def test_without_models_the_workers_take_their_default() -> None:
    assert "AGON_MODELS" not in services("127.0.0.1", 8000, 1, ())[0].environment


def test_the_ingress_is_told_where_to_listen() -> None:
    ingress = next(s for s in services("127.0.0.2", 81, 1, ()) if s.name == "ingress")
    assert ingress.environment == {"AGON_HTTP_HOST": "127.0.0.2", "AGON_HTTP_PORT": "81"}
    assert ingress.command[1:] == ["-m", "agon_ingress"]


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert services("127.0.0.1", 1, 2, ())[0].environment["OMP_NUM_THREADS"] == "4"
    assert services("127.0.0.1", 1, 16, ())[0].environment["OMP_NUM_THREADS"] == "1"


def test_a_session_secret_of_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGON_SESSION_SECRET", raising=False)
    assert shared_environment({"kafka": "k:1"}, "made", "hashed")["AGON_SESSION_SECRET"] == "made"
    assert shared_environment({"kafka": "k:1"}, "made", "hashed")["AGON_KAFKA_URL"] == "k:1"
    monkeypatch.setenv("AGON_SESSION_SECRET", "given")
    assert shared_environment({}, "made", "hashed")["AGON_SESSION_SECRET"] == "given"
