import psutil
import pytest
import torch

from agon.engine.kv import CacheShape, KVCache
from agon.errors import SetupError

_SHAPE = CacheShape(layers=2, heads=2, head_size=4, dtype=torch.float32)


def test_a_cache_takes_memory_only_for_the_pages_that_were_written() -> None:
    shape = CacheShape(layers=4, heads=4, head_size=64, dtype=torch.float32)
    before = psutil.Process().memory_info().rss
    cache = KVCache(shape, pages=4000, page_size=16, device=torch.device("cpu"))
    assert cache.bytes > 500e6
    cache.write(0, torch.arange(16, 32), *torch.ones((2, 4, 16, 64)))
    assert psutil.Process().memory_info().rss - before < 50e6


def test_what_was_written_is_read_and_the_rest_is_zero() -> None:
    cache = KVCache(_SHAPE, pages=3, page_size=2, device=torch.device("cpu"))
    keys, values = torch.randn((2, 2, 3, 4))
    cache.write(1, torch.tensor([6, 7, 2]), keys, values)
    read_keys, read_values = cache.read(1, cache.blocks(torch.tensor([[3, 1, 0]])), rows=1)
    for read, written in ((read_keys, keys), (read_values, values)):
        assert torch.equal(read[0, :, :3], written)
        assert not read[0, :, 3:].any()


def test_cleared_pages_are_zero_again() -> None:
    cache = KVCache(_SHAPE, pages=2, page_size=2, device=torch.device("cpu"))
    cache.write(0, torch.arange(2, 6), *torch.full((2, 2, 4, 4), torch.nan))
    cache.clear([1])
    keys, _ = cache.read(0, cache.blocks(torch.tensor([[1, 2]])), rows=1)
    assert not keys[:, :, :2].any()
    assert keys[:, :, 2:].isnan().all()


def test_a_budget_that_holds_no_page_is_refused() -> None:
    with pytest.raises(SetupError, match="raise kv_cache_bytes"):
        _SHAPE.pages_within(_SHAPE.page_bytes(16), 16, useful=10)
