"""What is freed is kept for what comes next."""

import platform
import resource

import pytest
import torch

from agon.engine.memory import keep_freed


def _faults_of_a_large_tensor() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**21).add_(1)  # 8 MiB, or 2,048 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library decides for itself")
def test_memory_that_was_freed_is_not_taken_from_the_system_again() -> None:
    keep_freed()
    _faults_of_a_large_tensor()
    assert min(_faults_of_a_large_tensor() for _ in range(3)) < 200
