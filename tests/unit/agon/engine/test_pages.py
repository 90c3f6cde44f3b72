"""Pages: handed out once, shared by count, free when nobody holds them."""

import pytest

from agon.engine.pages import PagePool


def test_the_padding_page_is_never_handed_out() -> None:
    pool = PagePool(5)
    assert sorted(pool.take(5)) == [1, 2, 3, 4, 5]
    assert pool.free == 0
    with pytest.raises(ValueError, match="1 pages wanted, 0 free"):
        pool.take(1)


def test_a_shared_page_is_free_when_its_last_holder_gives_it_up() -> None:
    pool = PagePool(3)
    pages = pool.take(2)
    shared = pool.share(pages[:1])
    pool.release(pages, dirty=False)
    assert pool.free == 2
    pool.release(shared, dirty=False)
    assert pool.free == 3


def test_a_page_released_twice_is_an_error() -> None:
    pool = PagePool(1)
    pages = pool.take(1)
    pool.release(pages, dirty=False)
    with pytest.raises(ValueError, match="released twice"):
        pool.release(pages, dirty=False)


def test_dirty_pages_are_named_once_and_only_when_free() -> None:
    pool = PagePool(4)
    first = pool.take(2)
    shared = pool.share(first[:1])
    pool.release(first, dirty=True)
    assert pool.take_dirty() == [first[1]]
    assert pool.take_dirty() == []
    pool.release(shared, dirty=True)
    assert pool.take_dirty() == shared
