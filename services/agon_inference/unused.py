"""Libraries that torch and transformers import wherever they are installed, and that serving never uses.

They would be 130 MB of each worker, and two of the seconds of its start.
"""

import sys
from collections.abc import Iterable

from agon.backends import BackendSpec

_ALWAYS = ("accelerate", "scipy")
_ON_CPU = ("cuda", "triton")


def leave_out_unused(specs: Iterable[BackendSpec]) -> None:
    """Make imports of them fail in this process, as if they were not installed. Those who import them can do without.

    For a process that serves these models and does nothing else; before torch is imported.
    """
    on_gpu = any(spec.options.get("device", "cpu") != "cpu" for spec in specs)
    for name in _ALWAYS if on_gpu else _ALWAYS + _ON_CPU:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
