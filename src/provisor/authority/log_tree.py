"""Events and tiles against each other: where they differ, which of them was changed, and how.

Every event is hashed again. Where its hash is not the one in the tree, the level above decides who is
right, and above all the signed heads: a tile that they confirm shows an altered event, a tile that only
the events contradict is itself altered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, final

from provisor.authority.log import gap_data, leaf_data
from provisor.authority.log_report import LogReport, Wrong
from provisor.core import merkle
from provisor.core.merkle import FULL, HASH, WIDTH
from provisor.ports import LogArchive, LogEvent

_MOST_STRAYS: Final = 200_000
"""Places at which hashes differ that are compared with one another."""


@final
class TreeCheck:
    """One pass over the log. Feed it the events of every tile in order, then `finish`."""

    def __init__(self, archive: LogArchive, size: int, end: int, dropped: int, report: LogReport) -> None:
        """`size` is that of the tree, `end` the last place, `dropped` up to where events may be forgotten."""
        self._archive = archive
        self._size = size
        self._end = end
        self._dropped = dropped
        self._report = report
        self._stored_roots: list[bytes] = []
        self._event_roots: list[bytes] = []
        self._differing: dict[int, tuple[bytes, bytes]] = {}
        self._strays: dict[int, bytes] = {}
        self._missing: dict[int, bytes] = {}
        self._gaps: list[int] = []
        self._untiled: set[int] = set()
        self._repaired: dict[tuple[int, int], bytes] = {}
        self._rebuilt: dict[int, tuple[bytes, bytes]] = {}
        self.forgotten = 0

    async def take(self, tile: int, events: Mapping[int, LogEvent]) -> None:
        """The events of one tile by their places, and what the tree says of them."""
        first = tile * WIDTH + 1
        in_tree = max(0, min(self._size - first + 1, WIDTH))
        # The log may have grown since its size was read.
        stored = (await _read(self._archive, 0, tile))[: in_tree * HASH] if in_tree else b""
        if len(stored) < in_tree * HASH:
            self._untiled.add(tile)
            self._report.add(Wrong.TILE_MISSING, f"tile 0/{tile}", "the tree has no such tile, or only a part of it")
        hashes: list[bytes] = []
        for offset in range(min(WIDTH, max(self._size, self._end) - first + 1)):
            n = first + offset
            kept = stored[offset * HASH : (offset + 1) * HASH] if offset < in_tree else b""
            event = events.get(n)
            if event is None:
                self._miss(n, kept)
                hashes.append(kept)
                continue
            leaf = merkle.hash_leaf(leaf_data(event.id, event.body))
            hashes.append(leaf if n <= self._size else b"")
            if n > self._size:
                self._stray(n, leaf)
            elif kept and leaf != kept:
                self._differing[n] = (kept, leaf)
        if not in_tree:
            return
        computed = b"".join(hashes[:in_tree])
        if computed != stored and len(stored) == in_tree * HASH:
            self._rebuilt[tile] = (stored, computed)
        if in_tree == WIDTH:
            self._stored_roots.append(merkle.root_of(stored) if len(stored) == FULL else b"")
            self._event_roots.append(merkle.root_of(computed) if len(computed) == FULL else b"")

    def _miss(self, n: int, kept: bytes) -> None:
        """No event at a place; `kept` is the hash that the tree has there."""
        if kept == _gap_leaf(n):
            self._gaps.append(n)
        elif n <= self._dropped:
            self.forgotten += 1
        else:
            self._missing[n] = kept

    def _stray(self, n: int, leaf: bytes) -> None:
        """An event that is not in the tree yet, or no more."""
        if len(self._strays) < _MOST_STRAYS:
            self._strays[n] = leaf

    async def finish(self, root: bytes | None) -> Mapping[tuple[int, int], bytes]:
        """Judge. `root` is what the newest genuine head says of the whole tree, if it is of this size.

        The answer has, for tiles that were altered, what they held before, as far as the events tell.
        """
        await self._check_levels()
        await self._judge_leaves(root)
        self._report_events()
        return self._repaired

    # -- the levels above the leaves ------------------------------------------------------------

    async def _check_levels(self) -> None:
        level, below, computed = 1, self._stored_roots, self._event_roots
        while below:
            below, computed = await self._check_level(level, below, computed)
            level += 1

    async def _check_level(
        self, level: int, below: Sequence[bytes], computed: Sequence[bytes]
    ) -> tuple[list[bytes], list[bytes]]:
        """Hashes of a level against those they are made of: `below` by the stored tiles, `computed` by the events."""
        roots: list[bytes] = []
        computed_roots: list[bytes] = []
        for tile in range(-(-len(below) // WIDTH)):
            children = below[tile * WIDTH : (tile + 1) * WIDTH]
            events = computed[tile * WIDTH : (tile + 1) * WIDTH]
            stored = (await _read(self._archive, level, tile))[: len(children) * HASH]
            if len(stored) != len(children) * HASH:
                text = "the tree has no such tile, or only a part of it"
                self._report.add(Wrong.TILE_MISSING, f"tile {level}/{tile}", text)
                stored = b"".join(children)
                self._repaired[level, tile] = stored
            right = [
                self._judge_node(level, tile, offset, stored[offset * HASH : (offset + 1) * HASH], child, event)
                for offset, (child, event) in enumerate(zip(children, events, strict=True))
            ]
            if b"".join(right) != stored:
                self._repaired[level, tile] = b"".join(right)
            if len(children) == WIDTH:
                roots.append(merkle.root_of(stored) if all(children) else b"")
                computed_roots.append(merkle.root_of(b"".join(events)) if all(events) else b"")
        return roots, computed_roots

    def _judge_node(self, level: int, tile: int, offset: int, stored: bytes, child: bytes, event: bytes) -> bytes:
        """The hash that belongs there."""
        if stored in (child, event) or not child:
            return stored
        place = tile * WIDTH + offset
        if child == event:
            text = f"hash {offset} is not that of the tile below it, {level - 1}/{place}, which its events confirm"
            self._report.add(Wrong.TILE_ALTERED, f"tile {level}/{tile}", text)
            return child
        text = f"hash {offset} is neither that of the tile below it, {level - 1}/{place}, nor that of its events"
        self._report.add(Wrong.TILE_ALTERED, f"tile {level}/{tile}", text)
        return stored

    # -- the leaves -----------------------------------------------------------------------------

    async def _judge_leaves(self, root: bytes | None) -> None:
        for tile, (stored, computed) in self._rebuilt.items():
            if await self._is_tile_altered(tile, stored, computed, root):
                self._repaired[0, tile] = computed
                for offset in range(len(stored) // HASH):
                    kept, leaf = (each[offset * HASH : (offset + 1) * HASH] for each in (stored, computed))
                    if kept != leaf:
                        n = tile * WIDTH + offset + 1
                        self._differing.pop(n, None)
                        text = f"hash {offset} is not that of event {n}, which the tree above it confirms"
                        self._report.add(Wrong.TILE_ALTERED, f"tile 0/{tile}", text, n)

    async def _is_tile_altered(self, tile: int, stored: bytes, computed: bytes, root: bytes | None) -> bool:
        """Whether what stands above the tile speaks for the events and against it."""
        if len(computed) != len(stored):
            return False
        if len(stored) == FULL:
            above = await _read(self._archive, 1, tile // WIDTH)
            above = self._repaired.get((1, tile // WIDTH), above)
            offset = tile % WIDTH
            parent = above[offset * HASH : (offset + 1) * HASH]
            return parent == merkle.root_of(computed) and parent != merkle.root_of(stored)
        if root is None:
            return False
        return await self._root_with(tile, computed) == root

    async def _root_with(self, tile: int, hashes: bytes) -> bytes | None:
        """The root of the whole tree if its last tile of leaves held these."""
        tiles = {(0, tile): hashes}
        for span in merkle.edge_spans(self._size)[1:]:
            key = (span.level, span.index)
            tiles[key] = self._repaired.get(key) or await _read(self._archive, *key)
        try:
            return merkle.hash_range(0, self._size, tiles)
        except KeyError:
            return None

    # -- what became of the events --------------------------------------------------------------

    def _report_events(self) -> None:
        belongs = {kept: n for n, kept in self._missing.items()}
        belongs.update({kept: n for n, (kept, _) in self._differing.items()})
        present = {leaf: n for n, (_, leaf) in self._differing.items()}
        present.update({leaf: n for n, leaf in self._strays.items() if leaf in belongs})
        for n, (kept, leaf) in sorted(self._differing.items()):
            if leaf in belongs:
                text = f"it is the event that has place {belongs[leaf]} in the tree"
                self._report.add(Wrong.EVENT_MOVED, f"event {n}", text, n)
                if kept not in present:
                    text = "the event that the tree has at this place is nowhere"
                    self._report.add(Wrong.EVENT_MISSING, f"event {n}", text, n)
            elif kept in present:
                text = f"the tree does not have it; the event of this place is now at {present[kept]}"
                self._report.add(Wrong.EVENT_INSERTED, f"event {n}", text, n)
            elif kept == _gap_leaf(n):
                text = "the tree has a gap here: no event was there when the log got to this place"
                self._report.add(Wrong.EVENT_INSERTED, f"event {n}", text, n)
            else:
                self._report.add(Wrong.EVENT_ALTERED, f"event {n}", "its hash is not the one in the tree", n)
        for n, leaf in sorted(self._strays.items()):
            if leaf in belongs:
                text = f"it is the event that has place {belongs[leaf]} in the tree"
                self._report.add(Wrong.EVENT_MOVED, f"event {n}", text, n)
        self._report_missing()

    def _report_missing(self) -> None:
        """Runs of missing events as one finding; at the end of the log it was cut off."""
        for first, last in _runs(self._missing):
            where = f"event {first}" if first == last else f"events {first} to {last}"
            if last >= self._size and first > self._end:
                text = f"the tree has {self._size} events, the last that is stored has place {self._end}"
                self._report.add(Wrong.LOG_TRUNCATED, where, text, first)
            else:
                self._report.add(Wrong.EVENT_MISSING, where, "not stored, and not forgotten by age", first)
        for first, last in _runs(self._gaps):
            where = f"event {first}" if first == last else f"events {first} to {last}"
            text = "taken away before the log got there: the tree has gaps in the place of what nobody knows any more"
            self._report.add(Wrong.LOG_GAP, where, text, first)


def _runs(places: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each row of places without a hole."""
    runs: list[tuple[int, int]] = []
    for n in places:
        if runs and runs[-1][1] == n - 1:
            runs[-1] = (runs[-1][0], n)
        else:
            runs.append((n, n))
    return runs


def _gap_leaf(place: int) -> bytes:
    return merkle.hash_leaf(gap_data(place))


async def _read(archive: LogArchive, level: int, index: int) -> bytes:
    found = await archive.tiles(level, index, 1)
    return found[0].hashes if found and found[0].index == index else b""
