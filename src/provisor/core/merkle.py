"""The hash tree of the audit log (RFC 9162 section 2.1, the tree of RFC 6962), kept in tiles.

A tile holds up to 256 hashes of one level. Level 0 has the leaf hashes; hash i of level k + 1 is the root
of the full tile i of level k. So the tile at (level, index) covers 256 ** (level + 1) leaves, is only ever
appended to, and is never changed once it is full. Whatever a proof needs lies in a few tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

from msgspec import Struct

HASH: Final = 32
"""Octets of a hash."""

WIDTH: Final = 256
"""Hashes of a full tile."""

FULL: Final = WIDTH * HASH
EMPTY_ROOT: Final = sha256().digest()
"""The root of the tree without leaves (RFC 9162 section 2.1.1)."""

_BITS: Final = 8
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"

Tiles = Mapping[tuple[int, int], bytes]
"""The hashes of tiles, one behind the other, by level and index."""


class Tile(Struct, frozen=True):
    """The hashes of a tile, one behind the other."""

    level: int
    index: int
    hashes: bytes


class Edge(Struct, frozen=True):
    """All that has to be known of a tree of `size` leaves to go on with it: the last tile of every level.

    `tails[k]` are the hashes of level k that fill no tile yet; empty if the last one is full.
    """

    size: int = 0
    tails: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        """The root of the tree."""
        if self.size == 0:
            return EMPTY_ROOT
        rest = b""
        for tail in self.tails:
            rest = root_of(tail + rest) if tail or rest else b""
        return rest


class Span(Struct, frozen=True):
    """`count` hashes of one tile, from `start`, which are those of a perfect subtree."""

    level: int
    index: int
    start: int
    count: int


def hash_leaf(data: bytes) -> bytes:
    """RFC 9162 section 2.1.1: a leaf and a node never hash the same octets."""
    return sha256(_LEAF + data).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()


def root_of(hashes: bytes) -> bytes:
    """The root over hashes that stand one behind the other, at least one: what is left over on a level moves up."""
    while len(hashes) > HASH:
        even = len(hashes) // (2 * HASH) * (2 * HASH)
        joined = [sha256(_NODE + hashes[at : at + 2 * HASH]).digest() for at in range(0, even, 2 * HASH)]
        hashes = b"".join(joined) + hashes[even:]
    return hashes


# -- growing --------------------------------------------------------------------------------------


def append(edge: Edge, leaves: Sequence[bytes]) -> tuple[Edge, list[Tile]]:
    """The tree with these leaf hashes behind its last, and every tile that is new or has changed."""
    tails: list[bytes] = []
    tiles: list[Tile] = []
    added = b"".join(leaves)
    level, first = 0, edge.size
    while added or level < len(edge.tails):
        tail = edge.tails[level] if level < len(edge.tails) else b""
        hashes = tail + added
        index = first // WIDTH
        roots: list[bytes] = []
        for at in range(0, len(hashes) if added else 0, FULL):
            tile = Tile(level, index + at // FULL, hashes[at : at + FULL])
            tiles.append(tile)
            if len(tile.hashes) == FULL:
                roots.append(root_of(tile.hashes))
        tails.append(hashes[len(roots) * FULL :])
        added = b"".join(roots)
        first //= WIDTH
        level += 1
    return Edge(edge.size + len(leaves), tuple(tails)), tiles


def edge_spans(size: int) -> list[Span]:
    """The parts of tiles that are the edge of a tree of this size, level 0 first; count 0 where there is no tail."""
    spans = []
    level = 0
    while size:
        spans.append(Span(level, size // WIDTH, 0, size % WIDTH))
        size //= WIDTH
        level += 1
    return spans


def read_edge(size: int, tiles: Tiles) -> Edge:
    """The edge from tiles, which may belong to a larger tree. Raises `KeyError` for a tile that is missing or short."""
    return Edge(size, tuple(_cut(span, tiles) for span in edge_spans(size)))


# -- subtrees -------------------------------------------------------------------------------------


def spans_of(first: int, end: int) -> list[Span]:
    """Where the hashes stand that make up the subtree of the leaves from `first` to before `end`, left to right.

    The subtree is one that proofs speak of: `first` is a multiple of the power of two that covers it.
    """
    spans = []
    while first < end:
        size = 1 << ((end - first).bit_length() - 1)
        level = (size.bit_length() - 1) // _BITS
        place = first >> (level * _BITS)
        spans.append(Span(level, place // WIDTH, place % WIDTH, size >> (level * _BITS)))
        first += size
    return spans


def hash_range(first: int, end: int, tiles: Tiles) -> bytes:
    """The hash of such a subtree. Raises `KeyError` for a tile that is missing or short."""
    if first == end:
        return EMPTY_ROOT
    *rest, last = [root_of(_cut(span, tiles)) for span in spans_of(first, end)]
    for left in reversed(rest):
        last = hash_node(left, last)
    return last


def _cut(span: Span, tiles: Tiles) -> bytes:
    if not span.count:
        return b""
    place = (span.level, span.index)
    hashes = tiles[place][span.start * HASH : (span.start + span.count) * HASH]
    if len(hashes) != span.count * HASH:
        raise KeyError(place)
    return hashes


# -- proofs ---------------------------------------------------------------------------------------

Ranges = Sequence[tuple[int, int]]
"""Subtrees, by their first leaf and the one behind the last."""


def inclusion_ranges(index: int, size: int) -> Ranges:
    """The subtrees whose hashes prove that leaf `index` is in the tree of `size` leaves (RFC 9162 section 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    return list(_inclusion(index, 0, size))


def _inclusion(index: int, first: int, end: int) -> Iterator[tuple[int, int]]:
    if end - first == 1:
        return
    middle = first + _left_size(end - first)
    if index < middle:
        yield from _inclusion(index, first, middle)
        yield middle, end
    else:
        yield from _inclusion(index, middle, end)
        yield first, middle


def consistency_ranges(old: int, new: int) -> Ranges:
    """The subtrees whose hashes prove that the tree of `old` leaves begins that of `new` (RFC 9162 section 2.1.4.1)."""
    if not 0 < old <= new:
        raise ValueError(f"a tree of {old} leaves does not begin one of {new}")
    return list(_consistency(old, 0, new, whole=True))


def _consistency(old: int, first: int, end: int, *, whole: bool) -> Iterator[tuple[int, int]]:
    if old == end:
        if not whole:
            yield first, end
        return
    middle = first + _left_size(end - first)
    if old <= middle:
        yield from _consistency(old, first, middle, whole=whole)
        yield middle, end
    else:
        yield from _consistency(old, middle, end, whole=False)
        yield first, middle


def _left_size(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def make_proof(ranges: Ranges, tiles: Tiles) -> list[bytes]:
    """The hashes of the subtrees. Raises `KeyError` for a tile that is missing or short."""
    return [hash_range(first, end, tiles) for first, end in ranges]


def needed_tiles(ranges: Ranges) -> set[tuple[int, int]]:
    """Level and index of the tiles that hashing these subtrees takes."""
    return {(span.level, span.index) for first, end in ranges for span in spans_of(first, end)}


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf`, a leaf hash, stands at `index` of the tree with this root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes((leaf, root, *proof)):
        return False
    node, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = hash_node(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = hash_node(result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and result == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of `old` leaves begins that of `new` (RFC 9162 section 2.1.4.2). The empty one begins all."""
    if not 0 <= old <= new or not _are_hashes((old_root, new_root, *proof)):
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_result = new_result = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_result, new_result = hash_node(sibling, old_result), hash_node(sibling, new_result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new_result = hash_node(new_result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old_result == old_root and new_result == new_root


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH for value in values)
