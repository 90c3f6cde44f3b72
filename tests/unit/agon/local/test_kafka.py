"""What Kafka's own tools are told."""

import uuid
from pathlib import Path

import pytest

from agon.local.kafka import KafkaServer, cluster_id


def test_no_cluster_id_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([uuid.UUID(bytes=bytes([0xF8] + [0] * 15)), uuid.UUID(int=7)])
    monkeypatch.setattr(uuid, "uuid4", lambda: next(drawn))
    assert cluster_id() == "AAAAAAAAAAAAAAAAAAAABw"


def test_the_controller_has_another_port_than_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [4001, 4001, 4002]
    monkeypatch.setattr("agon.local.kafka.free_port", lambda: drawn.pop(0))
    server = KafkaServer(tmp_path, tmp_path / "log", port=4001)
    server._write_settings(tmp_path / "logs")
    listeners = next(line for line in (tmp_path / "server.properties").read_text().splitlines() if "listeners=" in line)
    assert listeners == "listeners=PLAINTEXT://127.0.0.1:4001,CONTROLLER://127.0.0.1:4002"
