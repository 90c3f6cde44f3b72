"""`agon bench`: the figures are measured by one command, on real models and in real processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[4] / "benchmarks" / "results"


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "agon.cli", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.timeout(320)
def test_the_engines_figures_are_a_table_and_its_aims_and_a_quick_run_keeps_nothing() -> None:
    kept = {file: file.read_bytes() for file in RESULTS.glob("engine_*.json")}
    done = bench("engine", "--quick", "--workload", "guided")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rows = {line[:42].strip(): line[42:].split() for line in lines if line.startswith(("free text", "JSON schema"))}
    assert rows.keys() == {"free text", "JSON schema"}
    for rate, ratio, *times in rows.values():
        assert float(rate) > 0
        assert float(ratio) > 0
        assert len(times) >= 7
    assert any("guided: JSON schema over free text" in line for line in lines)
    assert {file: file.read_bytes() for file in RESULTS.glob("engine_*.json")} == kept
    assert all(json.loads(data) for data in kept.values())
