"""`agon arenas`: an arena's policy is checked before it is set."""

import json
import subprocess
from pathlib import Path

import pytest

from support import forked

pytestmark = pytest.mark.servers


def test_a_policy_is_set_whole_or_not_at_all(database_url: str, tmp_path: Path) -> None:
    def agon(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return forked.agon("arenas", *arguments, environment={"AGON_POSTGRES_URL": database_url})

    policy = {
        "pairing": {"kind": "active", "rule": "widths"},
        "slices": [{"name": "long-code", "where": {"categories": ["code", "long"]}}],
        "categories": ["long"],
        "sampling": {"temperature": 0.7, "max_tokens": 512},
        "imports": True,
    }
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    assert agon("set", "side", "--policy", str(file), "--publication-delay", "24").stdout == "default/side is set\n"
    for wrong in (
        {"pairing": {"kind": "swiss"}},
        {"slices": [{"name": "overall"}]},
        {"categories": "long"},
        {"sampling": {"temperature": -1}},
        {"imports": "yes"},
        ["no object"],
    ):
        file.write_text(json.dumps(wrong))
        refused = agon("set", "side", "--policy", str(file), "--publication-delay", "1")
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    for arguments in (("two words",), ("side", "--tenant", ""), ("side", "--publication-delay", "nan")):
        refused = agon("set", *arguments)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert "constraint" not in refused.stderr
    said = [json.loads(line) for line in agon("show").stdout.splitlines()]
    assert said[1] == {"tenant": "default", "arena": "side", "publication_delay_hours": 24.0, "policy": policy}
    assert said[0]["arena"] == "main"
