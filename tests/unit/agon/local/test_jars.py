import re

from agon.local.jars import KAFKA_VERSION, pinned


def test_the_lock_pins_one_broker_with_checksums_and_a_way_to_log() -> None:
    jars = pinned()
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size > 0 for jar in jars)
    assert len({jar.file_name for jar in jars}) == len(jars)
    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in {jar.file_name for jar in jars}
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {KAFKA_VERSION}
    assert "log4j-slf4j-impl" in {jar.artifact for jar in jars}
