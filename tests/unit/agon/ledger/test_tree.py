"""The tree of RFC 6962 against published vectors, and against its recursive definition."""

import hashlib

import pytest

from agon.errors import InvalidRequest
from agon.ledger import Frontier, inclusion_proof, leaf_hash, root, verify_inclusion

# The inputs and heads of Certificate Transparency's own tests (trees of 1 to 8 leaves).
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
HEADS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(entry) for entry in INPUTS]


def defined(leaves: list[bytes]) -> bytes:
    """Section 2.1 word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + defined(leaves[:k]) + defined(leaves[k:])).digest()


def test_the_head_of_nothing_is_the_hash_of_nothing() -> None:
    assert root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, 9))
def test_heads_are_the_published_ones(size: int) -> None:
    assert root(LEAVES[:size]).hex() == HEADS[size - 1]


@pytest.mark.parametrize("size", [*range(1, 34), 100])
def test_every_leaf_of_every_tree_is_proven_and_nothing_else(size: int) -> None:
    leaves = [leaf_hash(str(n).encode()) for n in range(size)]
    head = root(leaves)
    assert head == defined(leaves)
    for index in range(size):
        path = inclusion_proof(leaves, index)
        assert verify_inclusion(leaves[index], index, size, path, head)
        assert not verify_inclusion(leaf_hash(b"other"), index, size, path, head)
        assert not verify_inclusion(leaves[index], (index + 1) % size, size, path, head) or size == 1
        assert not verify_inclusion(leaves[index], index, size, [*path, b"\0" * 32], head)
        if path:
            assert not verify_inclusion(leaves[index], index, size, path[:-1], head)


def test_a_leaf_outside_the_tree_has_no_proof() -> None:
    with pytest.raises(InvalidRequest, match="not in a tree of 8"):
        inclusion_proof(LEAVES, 8)
    assert not verify_inclusion(LEAVES[0], 8, 8, [], root(LEAVES))


def test_a_tree_that_grows_in_pieces_has_the_head_of_all_its_leaves_at_every_size() -> None:
    leaves = [leaf_hash(str(n).encode()) for n in range(300)]
    one_by_one = Frontier()
    assert one_by_one.head == root([])
    for size in range(1, 301):
        one_by_one = one_by_one.extended(leaves[size - 1 : size])
        assert (one_by_one.size, one_by_one.head) == (size, root(leaves[:size]))
        assert len(one_by_one.peaks) == size.bit_count()
        in_two = Frontier().extended(leaves[: size // 3]).extended(leaves[size // 3 : size])
        assert in_two == one_by_one
