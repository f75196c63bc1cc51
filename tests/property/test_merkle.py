"""The log's tree: the same however it grew, and no proof of anything that is not so."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from provisor.core import merkle
from provisor.core.merkle import Edge
from support.fuzzing import fuzz

LEAVES = [merkle.hash_leaf(number.to_bytes(4, "big")) for number in range(66_000)]
TILES: dict[tuple[int, int], bytes] = {}
EDGE, _tiles = merkle.append(Edge(), LEAVES)
TILES.update({(tile.level, tile.index): tile.hashes for tile in _tiles})

sizes = st.one_of(st.integers(1, 700), st.sampled_from([255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 66_000]))


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 section 2.1.1 to the letter."""
    if len(leaves) == 0:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + plain_root(leaves[:split]) + plain_root(leaves[split:])).digest()


@fuzz(100)
@given(size=sizes, cuts=st.lists(st.integers(0, 66_000), max_size=12))
def test_any_split_into_batches_gives_the_same_tree(size: int, cuts: list[int]) -> None:
    edge = Edge()
    tiles: dict[tuple[int, int], bytes] = {}
    bounds = sorted({0, size, *(cut % (size + 1) for cut in cuts)})
    for first, end in pairwise(bounds):
        edge, changed = merkle.append(edge, LEAVES[first:end])
        for tile in changed:
            assert tile.hashes.startswith(tiles.get((tile.level, tile.index), b""))
            tiles[tile.level, tile.index] = tile.hashes
        assert edge == merkle.read_edge(end, tiles)
    whole, all_tiles = merkle.append(Edge(), LEAVES[:size])
    assert edge == whole == merkle.read_edge(size, TILES)
    assert tiles == {(tile.level, tile.index): tile.hashes for tile in all_tiles}
    assert edge.root() == plain_root(LEAVES[:size]) == merkle.hash_range(0, size, TILES)


@fuzz(200)
@given(size=sizes, data=st.data())
def test_every_leaf_can_be_proven_and_nothing_else(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    ranges = merkle.inclusion_ranges(index, size)
    assert merkle.needed_tiles(ranges) <= TILES.keys()
    proof, root = merkle.make_proof(ranges, TILES), merkle.hash_range(0, size, TILES)
    assert merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
    assert not merkle.verify_inclusion(LEAVES[index], index, size, [*proof, root], root)
    assert not merkle.verify_inclusion(LEAVES[(index + 1) % 66_000], index, size, proof, root)
    if size > 1:
        assert not merkle.verify_inclusion(LEAVES[index], (index + 1) % size, size, proof, root)
        assert not merkle.verify_inclusion(LEAVES[index], index, size, proof[:-1], root)
    for changed in flips((LEAVES[index], root, *proof), data):
        assert not merkle.verify_inclusion(changed[0], index, size, changed[2:], changed[1])


@fuzz(200)
@given(old=sizes, new=sizes, data=st.data())
def test_a_tree_begins_those_that_grew_from_it_and_no_other(old: int, new: int, data: st.DataObject) -> None:
    old, new = sorted((old, new))
    ranges = merkle.consistency_ranges(old, new)
    assert merkle.needed_tiles(ranges) <= TILES.keys()
    proof = merkle.make_proof(ranges, TILES)
    roots = first, last = merkle.hash_range(0, old, TILES), merkle.hash_range(0, new, TILES)
    assert merkle.verify_consistency(old, new, *roots, proof)
    assert not merkle.verify_consistency(old, new, *roots, [*proof, roots[0]])
    if proof:
        assert not merkle.verify_consistency(old, new, *roots, proof[:-1])
        assert not merkle.verify_consistency(new, old, last, first, proof)
        assert not merkle.verify_consistency(old, new, last, first, proof)
    for changed in flips((*roots, *proof), data):
        assert not merkle.verify_consistency(old, new, changed[0], changed[1], changed[2:])


def flips(hashes: Sequence[bytes], data: st.DataObject) -> list[list[bytes]]:
    """The same hashes with one bit changed, somewhere in each of them in turn."""
    changed = []
    for place, each in enumerate(hashes):
        bit = data.draw(st.integers(0, 255))
        other = bytearray(each)
        other[bit // 8] ^= 1 << bit % 8
        changed.append([*hashes[:place], bytes(other), *hashes[place + 1 :]])
    return changed
