"""The tree of RFC 6962 against values that others have published (see SOURCES)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provisor.core import merkle

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "tree_vectors.json").read_text())
LEAVES = [merkle.hash_leaf(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]
TILES = {(tile.level, tile.index): tile.hashes for tile in merkle.append(merkle.Edge(), LEAVES)[1]}


def proof_of(case: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(each) for each in case["proof"]]


def test_the_empty_tree() -> None:
    assert merkle.Edge().root().hex() == VECTORS["empty_root"]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots(size: int) -> None:
    edge, _ = merkle.append(merkle.Edge(), LEAVES[:size])
    assert edge.root() == ROOTS[size - 1] == merkle.hash_range(0, size, TILES)


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=str)
def test_inclusion(case: dict[str, Any]) -> None:
    index, size, proof = case["index"], case["size"], proof_of(case)
    assert merkle.make_proof(merkle.inclusion_ranges(index, size), TILES) == proof
    assert merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size - 1])


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=str)
def test_consistency(case: dict[str, Any]) -> None:
    old, new, proof = case["old"], case["new"], proof_of(case)
    assert merkle.make_proof(merkle.consistency_ranges(old, new), TILES) == proof
    assert merkle.verify_consistency(old, new, ROOTS[old - 1], ROOTS[new - 1], proof)
