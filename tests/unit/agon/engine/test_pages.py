"""Pages: handed out once, shared by count, free when nobody holds them."""

import pytest

from agon.engine.pages import PagePool, link, root_of


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


def published(pool: PagePool, tokens: list[int], root: bytes) -> list[int]:
    """Pages of two tokens each that hold these tokens, held by nobody."""
    pages = pool.take(len(tokens) // 2)
    for page, (at, parent) in zip(pages, enumerate(chain_of(tokens, root)), strict=False):
        pair = tokens[2 * at : 2 * at + 2]
        pool.publish(page, parent, link(parent, pair), pair)
    pool.release(pages)
    return pages


def chain_of(tokens: list[int], root: bytes) -> list[bytes]:
    chain = [root]
    for at in range(0, len(tokens) - 1, 2):
        chain.append(link(chain[-1], tokens[at : at + 2]))
    return chain


ROOT = root_of(None, "")


def test_published_pages_are_found_as_far_as_the_tokens_are_the_same() -> None:
    pool = PagePool(6)
    pages = published(pool, [1, 2, 3, 4, 5, 6], ROOT)
    for tokens, same in ([1, 2, 3, 4, 5, 6], 3), ([1, 2, 3, 4, 5, 7], 2), ([1, 3, 3, 4], 0), ([1, 2], 1), ([3, 4], 0):
        assert pool.find(chain_of(tokens, ROOT), tokens, 2) == pages[:same]


@pytest.mark.parametrize("root", [root_of("adapter", ""), root_of(None, "salt"), root_of("", "")])
def test_another_adapter_or_salt_finds_nothing(root: bytes) -> None:
    pool = PagePool(3)
    published(pool, [1, 2, 3, 4], ROOT)
    assert pool.find(chain_of([1, 2, 3, 4], root), [1, 2, 3, 4], 2) == []


def test_a_hash_that_two_texts_share_is_no_hit() -> None:
    pool = PagePool(3)
    [page] = pool.take(1)
    pool.publish(page, ROOT, link(ROOT, [1, 2]), [9, 9])
    assert pool.find(chain_of([1, 2], ROOT), [1, 2], 2) == []


def test_found_pages_are_held_again_and_no_longer_free() -> None:
    pool = PagePool(3)
    pages = published(pool, [1, 2, 3, 4], ROOT)
    assert (pool.free, pool.idle(pages)) == (3, 2)
    pool.share(pages)
    assert (pool.free, pool.idle(pages)) == (1, 0)
    assert pool.take(1) not in ([page] for page in pages)


def test_what_is_free_the_longest_is_lost_first_and_of_a_text_its_end() -> None:
    pool = PagePool(5)
    old = published(pool, [1, 2, 3, 4], ROOT)
    new = published(pool, [5, 6, 7, 8], ROOT)
    pool.take(1)  # the one that held nothing
    assert pool.take(1) == old[1:]
    assert pool.find(chain_of([1, 2, 3, 4], ROOT), [1, 2, 3, 4], 2) == old[:1]
    pool.release(pool.share(old[:1]))  # used just now
    assert pool.take(1) == new[1:]
    assert pool.take(1) == new[:1]
    assert pool.find(chain_of([1, 2], ROOT), [1, 2], 2) == old[:1]


def test_a_published_page_is_never_dirty() -> None:
    pool = PagePool(2)
    pages = pool.take(2)
    pool.publish(pages[0], ROOT, link(ROOT, [1, 2]), [1, 2])
    pool.release(pages, dirty=True)
    assert pool.take_dirty() == pages[1:]
