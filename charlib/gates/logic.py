"""The vectorised logic model of a block: many vectors a machine word, function and toggle counts.

Unit delay: every cell answers one time unit after its inputs. A net that settles by a detour toggles more
than once, so the count holds the glitches that a zero-delay model misses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from charlib.gates.block import CELLS, STATE_CELLS, Block, Words

Bits = npt.NDArray[np.uint8]


def pack(bits: Bits) -> Words:
    """bits: (vectors, signals) of 0/1. Returns (signals, words): 64 vectors a word, the first in bit 0."""
    vectors, signals = bits.shape
    padded = np.zeros((-(-vectors // 64) * 64, signals), dtype=np.uint8)
    padded[:vectors] = bits
    octets = np.packbits(padded, axis=0, bitorder="little")
    return np.ascontiguousarray(octets.T).view(np.uint64)


def unpack(words: Words, vectors: int) -> Bits:
    """Inverse of :func:`pack`."""
    octets = np.ascontiguousarray(words).view(np.uint8)
    return np.ascontiguousarray(np.unpackbits(octets, axis=1, bitorder="little")[:, :vectors].T)


def _start(block: Block, bits: Bits) -> dict[str, Words]:
    if any(instance.cell in STATE_CELLS for instance in block.instances):
        raise BadInput(f"Block '{block.name}': it holds flip-flops; the logic model takes combinational blocks")
    if bits.ndim != 2 or bits.shape[1] != len(block.inputs):
        raise BadInput(f"Block '{block.name}': vectors must be (n, {len(block.inputs)}), got {bits.shape}")
    words = pack(bits)
    nets = dict(zip(block.inputs, words, strict=True))
    nets["0"] = np.zeros(words.shape[1], dtype=np.uint64)
    nets["1"] = ~nets["0"]
    return nets


def _settle(block: Block, nets: dict[str, Words]) -> dict[str, Words]:
    for instance in block.instances:
        outputs = CELLS[instance.cell].function(*(nets[net] for net in instance.inputs))
        nets.update(zip(instance.outputs, outputs, strict=True))
    return nets


def simulate(block: Block, bits: Bits) -> Bits:
    """Settled outputs, (vectors, outputs), of input vectors (vectors, inputs)."""
    nets = _settle(block, _start(block, bits))
    return unpack(np.stack([nets[net] for net in block.outputs]), len(bits))


@dataclass(frozen=True)
class UnitDelay:
    """Per step from one vector to the next, shape (vectors − 1,): toggles of all cell outputs, settling time."""

    toggles: npt.NDArray[np.int64]
    settled_at: npt.NDArray[np.int64]  #: unit delays until the block's outputs rest; 0 where none toggles


def unit_delay(block: Block, bits: Bits) -> UnitDelay:
    """Simulate every step at unit delay, all steps at once."""
    steps = len(bits) - 1
    if steps < 1:
        raise BadInput(f"Block '{block.name}': toggles need at least 2 vectors, got {len(bits)}")
    now = _settle(block, _start(block, bits[:-1]))
    after = dict(zip(block.inputs, pack(bits[1:]), strict=True))
    readers: dict[str, list[int]] = {}
    for k, instance in enumerate(block.instances):
        for net in instance.inputs:
            readers.setdefault(net, []).append(k)
    outside = set(block.outputs)
    counts, settled, time = np.zeros(steps, dtype=np.int64), np.zeros(steps, dtype=np.int64), 0
    changed: Mapping[str, Words] = {net: word for net, word in after.items() if np.any(word != now[net])}
    while changed:
        now.update(changed)
        time += 1
        touched = sorted({k for net in changed for k in readers.get(net, ())})
        following: dict[str, Words] = {}
        for k in touched:
            instance = block.instances[k]
            outputs = CELLS[instance.cell].function(*(now[net] for net in instance.inputs))
            for net, word in zip(instance.outputs, outputs, strict=True):
                difference = word ^ now[net]
                if np.any(difference):
                    following[net] = word
                    moved = unpack(difference[np.newaxis], steps)[:, 0]
                    counts += moved
                    if net in outside:
                        settled[moved == 1] = time
        changed = following
    return UnitDelay(counts, settled)


def toggles_unit_delay(block: Block, bits: Bits) -> npt.NDArray[np.int64]:
    """Toggles of all cell outputs for each step from one vector to the next, shape (vectors − 1,)."""
    return unit_delay(block, bits).toggles


def random_vectors(signals: int, vectors: int, activity: float, seed: int) -> Bits:
    """Vectors whose bits start even and then each toggle with probability `activity`: (vectors, signals)."""
    if not 0 <= activity <= 1:
        raise BadInput(f"activity: must lie in [0, 1], got {activity:g}")
    rng = np.random.Generator(np.random.Philox(seed))
    first = rng.random(signals) < 0.5
    flips = rng.random((vectors - 1, signals)) < activity
    return np.vstack([first, np.logical_xor(first, np.cumsum(flips, axis=0) % 2 == 1)]).astype(np.uint8)


def integers_to_bits(values: Sequence[int], width: int) -> Bits:
    """Each integer as `width` bits, least significant first: (values, width)."""
    return np.array([[value >> k & 1 for k in range(width)] for value in values], dtype=np.uint8)


def bits_to_integers(bits: Bits) -> list[int]:
    """Inverse of :func:`integers_to_bits`, as Python integers."""
    return [sum(int(bit) << k for k, bit in enumerate(row)) for row in bits]
