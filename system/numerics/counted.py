"""A layer's training step one number at a time, counting each event where it happens.

The scalar twin's loops with a tally: what a lane, a tree or an accumulator does is counted on the line that does it,
idle lanes included. The mapper's closed forms are held to these counts (tests), so nothing here knows of it. Layers
are grouped products: x (groups, rows, depth) serial, w (groups, words, depth) stored, as nested lists of BF16 codes;
a convolution is unfolded into one by :func:`patches`.

Where the words of a group leave most of a column of lanes empty (depthwise layers: one word of a few taps), several
groups lie side by side in one address: :func:`packing`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from system.numerics import scalar
from system.numerics.arithmetic import Arithmetic, tiles

Rows = Sequence[Sequence[Sequence[int]]]  #: (groups, rows, depth)
Tally = Counter[str]
TAPS = 9


def patches(image: Rows, kernel: tuple[int, int], stride: int, padding: tuple[int, int], groups: int
            ) -> list[list[list[int]]]:
    """One image (channels, height, width) unfolded: (groups, positions, own channels × taps); zeros outside."""
    height, width = len(image[0]), len(image[0][0])
    own = len(image) // groups

    def pixel(c: int, y: int, x: int) -> int:
        return image[c][y][x] if 0 <= y < height and 0 <= x < width else 0

    def positions(size: int, edge: int, pad: int) -> range:
        return range(-pad, size + pad - edge + 1, stride)

    return [[[pixel(g * own + c, y + dy, x + dx) for c in range(own) for dy in range(kernel[0])
              for dx in range(kernel[1])]
             for y in positions(height, kernel[0], padding[0]) for x in positions(width, kernel[1], padding[1])]
            for g in range(groups)]


def packing(groups: int, words: int, depth: int, lanes: int) -> int:
    """Groups that share an address where each has one word only: one for each group of TAPS lanes, whose sums the
    tree gives apart."""
    return max(1, min(groups, lanes // TAPS)) if words == 1 and groups > 1 and depth <= TAPS else 1


def addresses(w: Rows, lanes: int) -> Iterator[list[tuple[int, int, range]]]:
    """What lies at one address, address by address: (group, word, its k) of each run of lanes."""
    groups, words, depth = len(w), len(w[0]), len(w[0][0])
    packed = packing(groups, words, depth, lanes)
    for first in range(0, groups, packed):
        for word in range(words):
            for tile in tiles(depth, lanes):
                yield [(g, word, tile) for g in range(first, min(first + packed, groups))]


def _operation(lanes: Sequence[range], arithmetic: Arithmetic, tally: Tally) -> None:
    """All compartments multiply once, those with nothing to do among them."""
    for tile in lanes:
        for _ in tile:
            tally["compartment_product"] += 1
    tally["idle_lane_product"] += arithmetic.lanes - sum(len(tile) for tile in lanes)


def forward(x: Rows, w: Rows, arithmetic: Arithmetic, tally: Tally) -> list[list[list[int]]]:
    """z (groups, rows, words): BF16 codes. Every address meets every row."""
    totals = [[[0] * len(w[0]) for _ in rows] for rows in x]
    several = len(tiles(len(w[0][0]), arithmetic.lanes)) > 1
    bits = 24 if arithmetic.tile_accumulator == "fp32" else 8
    for address in addresses(w, arithmetic.lanes):
        for m in range(len(x[0])):
            _operation([tile for *_, tile in address], arithmetic, tally)
            tally["tree_add"] += 1
            for g, word, tile in address:
                part = scalar.tree([x[g][m][k] for k in tile], [w[g][word][k] for k in tile], arithmetic)
                tally["tree_normalise"] += 1
                totals[g][m][word] = scalar.add(totals[g][m][word], part, bits)
                tally["tile_accumulate"] += several
    return [[[scalar.fp32_to_bf16(z, arithmetic.saturate) for z in row] for row in rows] for rows in totals]


def input_gradient(w: Rows, delta: Rows, arithmetic: Arithmetic, tally: Tally) -> list[list[list[int]]]:
    """d (groups, rows, depth): BF16 codes. One δ a group is broadcast to an address; each lane adds for itself.

    A group of one word has one product a lane and row: it is rounded as it is, with nothing to accumulate.
    """
    words, depth = len(w[0]), len(w[0][0])
    for address in addresses(w, arithmetic.lanes):
        for _ in delta[0]:
            _operation([tile for *_, tile in address], arithmetic, tally)
            for _, _, tile in address:
                for _ in tile:
                    tally["hadamard_round" if len(w) > 1 and words == 1 else "lane_accumulate"] += 1
    return [[[scalar.lane_dot([w[g][j][k] for j in range(words)], list(row), arithmetic) for k in range(depth)]
             for row in rows] for g, rows in enumerate(delta)]


def weight_gradient(x: Rows, delta: Rows, arithmetic: Arithmetic, tally: Tally, mode: str, stored: str = "x"
                    ) -> list[list[list[int]]]:
    """ΔW (groups, words, depth): FP32 patterns.

    batched: a lane is a row; `stored`, "x" or "delta", lies in the array. outer: row by row, x stored where the
    weights would lie.
    """
    groups, rows, depth, words = len(x), len(x[0]), len(x[0][0]), len(delta[0][0])
    weights = [(g, j, i) for g in range(groups) for j in range(words) for i in range(depth)]
    if mode == "outer":
        shape = [[[0] * depth] * words] * groups
        for address in addresses(shape, arithmetic.lanes):
            for _ in range(rows):
                _operation([tile for *_, tile in address], arithmetic, tally)
                tally["lane_accumulate"] += sum(len(tile) for *_, tile in address)
    else:
        for tile in tiles(rows, arithmetic.lanes):
            for _ in weights:
                _operation([tile], arithmetic, tally)
                for event in ("tree_add", "tree_normalise", "tile_accumulate"):
                    tally[event] += 1
    for row in (row for part in (x if mode == "outer" or stored == "x" else delta) for row in part):
        for _ in row:
            tally["array_write"] += 1
    found: dict[tuple[int, int, int], int] = {
        (g, j, i): scalar.weight_gradient([x[g][b][i] for b in range(rows)], [delta[g][b][j] for b in range(rows)],
                                          arithmetic, mode) for g, j, i in weights}
    return [[[found[g, j, i] for i in range(depth)] for j in range(words)] for g in range(groups)]


def store(w: Rows, tally: Tally) -> None:
    """An activation written where weights lie, before a product of two activations."""
    for row in (row for part in w for row in part):
        for _ in row:
            tally["array_write"] += 1


def gate(elements: int, tally: Tally, activated: bool = True) -> None:
    """The input gradient's rounding, element by element; where the operand came through an activation, after its
    Hadamard product with f'."""
    for _ in range(elements):
        tally["gradient_gate"] += activated
        tally["hadamard_round"] += 1


def update(weights: int, copies: int, tally: Tally) -> None:
    """Hadamard product by η, near-memory add, every copy rewritten."""
    for _ in range(weights):
        tally["hadamard_round"] += 1
        tally["update_add"] += 1
        for _ in range(copies):
            tally["array_write"] += 1
