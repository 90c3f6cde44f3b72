import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from agon.backends import BackendSpec
from agon_inference import unused

_SERVE = """
import sys
from agon.backends import BackendSpec
from agon_inference.unused import leave_out_unused
leave_out_unused([BackendSpec.parse("tiny=./tiny")])
import agon.engine.engine
print(*(name for name in ("accelerate", "cuda", "scipy", "triton") if sys.modules.get(name)))
"""


def test_what_serving_never_uses_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", _SERVE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_a_gpu_keeps_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, ModuleType | None] = {}
    monkeypatch.setattr(unused, "sys", SimpleNamespace(modules=modules))
    unused.leave_out_unused([BackendSpec.parse("a=./a"), BackendSpec.parse("b=./b,device=cuda")])
    assert set(modules) == {"accelerate", "scipy"}
