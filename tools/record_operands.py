"""Record operands of real training for the circuits: charlib/data/operands/digits.npz, BF16 codes tile by tile.

The small MobileNet trains on the digits under the in-memory arithmetic; of the forward and of the batched weight
gradient's products, whole tiles of 32 lanes are kept in the order in which a macro takes them: one serial operand,
and the stored words of successive addresses. Run: python tools/record_operands.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from system.numerics.formats import Codes
from system.train.activity import Recorder
from system.train.datasets import open_dataset
from system.train.loop import Plan, Run
from system.train.mobilenet import mobilenet_v1

OUT = Path(__file__).resolve().parents[1] / "charlib" / "data" / "operands" / "digits.npz"
LANES, RUN, ROWS = 32, 16, 256
EVERY = 29  #: products between two tiles: no layer is favoured


class Tiles(Recorder):
    """Keeps tiles of operands by pass."""

    def __init__(self) -> None:
        super().__init__(every=1)
        self.kept: dict[str, list[tuple[Codes, Codes]]] = {"forward": [], "weight_gradient": []}
        self._count = 0
        self._rng = np.random.Generator(np.random.Philox(20230104))

    def see(self, name: str, serial: Codes, stored: Codes, layer: str = "",
            macs: int | None = None) -> None:
        """Take a run of operations from one tile, where the layer is deep enough to fill the lanes."""
        self._count += 1
        if name not in self.kept or self._count % EVERY:
            return
        if name == "weight_gradient":  # lanes are positions: (g, positions, channels) -> (g, channels, positions)
            serial, stored = serial.transpose(0, 2, 1), stored.transpose(0, 2, 1)
        if serial.shape[-1] < LANES or stored.shape[1] < RUN:
            return
        group = int(self._rng.integers(len(serial)))
        row, start = int(self._rng.integers(serial.shape[1])), int(self._rng.integers(serial.shape[-1] - LANES + 1))
        first = int(self._rng.integers(stored.shape[1] - RUN + 1))
        lanes = slice(start, start + LANES)
        x = np.repeat(serial[group, row:row + 1, lanes], RUN, axis=0)
        self.kept[name].append((x, stored[group, first:first + RUN, lanes]))


def main() -> None:
    """Train, and write the tiles of the later half of training."""
    tiles = Tiles()
    data = open_dataset("digits", None, 0)
    Run(lambda: mobilenet_v1(0.25, data.classes, data.channels), data, Plan(epochs=5), recorder=tiles).train()
    found = {}
    for name, kept in tiles.kept.items():
        chosen = kept[len(kept) // 2:][: ROWS // RUN]
        found[f"{name}_x"] = np.concatenate([x for x, _ in chosen]).astype(np.uint16)
        found[f"{name}_w"] = np.concatenate([w for _, w in chosen]).astype(np.uint16)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(OUT, **found)  # type: ignore[arg-type]
    print(OUT, {name: array.shape for name, array in found.items()})


if __name__ == "__main__":
    main()
