"""The compose file keeps its promises: health checks, no `latest`, loopback only, whole orders of start."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agon_inference.settings import InferenceSettings
from agon_ingress.settings import IngressSettings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"migrate", "topics"}
LONG_RUNNING = sorted(set(SERVICES) - ONE_SHOT)


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_every_long_running_service_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"].get("test")
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].partition(":")
    assert tag
    assert tag != "latest"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_port_is_published_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", sorted(set(LONG_RUNNING) - {"kafka", "redis", "postgres"}))
def test_our_services_wait_for_healthy_servers_and_finished_set_up(name: str) -> None:
    waits = {other: how["condition"] for other, how in SERVICES[name]["depends_on"].items()}
    assert waits == {
        "kafka": "service_healthy",
        "redis": "service_healthy",
        "postgres": "service_healthy",
        "migrate": "service_completed_successfully",
        "topics": "service_completed_successfully",
    }


def test_plain_up_brings_two_workers_and_no_profile_is_needed_to_chat() -> None:
    assert SERVICES["inference"]["deploy"]["replicas"] == 2
    assert [name for name in SERVICES if "profiles" in SERVICES[name]] == ["inference-gpu"]


def test_only_the_workers_image_has_torch() -> None:
    extras = {name: service["build"]["args"]["EXTRA"] for name, service in SERVICES.items() if "build" in service}
    assert {name for name, extra in extras.items() if extra != "ingress"} == {"inference", "inference-gpu"}


def test_every_secret_has_a_default_that_is_marked() -> None:
    for line in (ROOT / "docker-compose.yml").read_text().splitlines():
        if re.search(r"(PASSWORD|SECRET):-", line):
            assert "CHANGEME" in line or "command:" in line, line


def test_every_service_of_ours_is_started_by_the_compose_file() -> None:
    commands = {service.get("command") for service in SERVICES.values()}
    ours = {folder.name for folder in (ROOT / "services").glob("agon_*") if (folder / "__main__.py").exists()}
    assert {f"python -m {name}" for name in ours} <= commands


def test_only_who_signs_and_who_checks_tickets_has_the_secret() -> None:
    having = {name for name, service in SERVICES.items() if "AGON_SESSION_SECRET" in service.get("environment", {})}
    assert having == {"ingress", "vote_ingest"}


def test_the_image_for_gpus_never_takes_a_torch_without_cuda() -> None:
    cpu, gpu = SERVICES["inference"], SERVICES["inference-gpu"]
    assert cpu["image"] != gpu["image"]
    assert "TORCH_INDEX" in cpu["build"]["args"]
    assert "TORCH_INDEX" not in gpu["build"]["args"]


def test_kafka_takes_the_largest_message_that_a_topic_takes_and_its_dead_letters_above_that() -> None:
    declared = yaml.safe_load((ROOT / "infra" / "kafka" / "topics.yaml").read_text())
    topics = [*declared["topics"].values(), *declared["model_topics"].values(), declared["defaults"]]
    largest = max(int(str(topic["max_message"]).removesuffix("MiB")) for topic in topics if "max_message" in topic)
    assert SERVICES["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"] >= (largest + 1) * 1024 * 1024


@pytest.mark.parametrize("name", ["ingress", "inference"])
def test_a_container_is_given_longer_to_stop_than_its_drain_takes(name: str) -> None:
    settings = {"ingress": IngressSettings, "inference": InferenceSettings}[name]
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > settings().drain_timeout.total_seconds()


def test_every_setting_that_the_compose_file_reads_is_explained() -> None:
    read = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    explained = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", (ROOT / "docs" / "operations.md").read_text()))
    assert read <= explained
