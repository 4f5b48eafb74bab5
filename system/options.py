"""Every option of an estimate in one frozen record, validated when made.

The record travels inside the estimate's JSON, so that any figure can be computed again from it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from charlib.errors import BadInput
from system.assumptions import CHOICES, DRAM_KINDS
from system.circuit import STATISTICS_BEYOND
from system.clocking import CLOCK_GATING
from system.gpu import GPUS
from system.gpu_records import card_slug
from system.scaling import FLAVOURS, NODES_NM
from system.structure import EXPONENT_FIRE, READ_POLICIES

PROJECTIONS = ("stillmaker_baas", "ptm")
UPDATE_MODES = ("master_fp32", "stochastic")
MOST_MACROS = 1 << 30
#: a clock of a megahertz; a longer period was meant in ns or µs
MOST_CYCLE_S = 1e-6
#: option -> least and largest value: wide, to catch GHz, MHz, GB/s and ns given for Hz, B/s and s
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("rows", "words_per_row", "compartments"), (1, 4096)), "lane_bits": (4, 256),
    "serial_bits": (1, 8), "batch": (1, 1 << 20), "die_mm2": (1e-3, 1e6), "buffer_bit": (1, 1 << 44),
    "vector_lanes": (1, 1 << 24), "vector_clock_hz": (1e6, 1e12),
    "chips": (1, 1 << 20), "link_bytes_per_s": (1e6, 1e15), "gradient_macros": (1, 1 << 24),
    "cycle_s": (1e-12, MOST_CYCLE_S), "vdd_v": (0.01, 20.0), "temp_c": (-273.15, 500.0),
    **dict.fromkeys(("input_density", "weight_density", "toggle", "write_flip", "zero_share"), (0.0, 1.0)),
    "exponent_spread": (0.0, 64.0),
}  # fmt: skip
_ALLOWED: dict[str, tuple[object, ...]] = {
    "node_nm": NODES_NM, "flavour": FLAVOURS, "constants": CHOICES, "dram": DRAM_KINDS,
    "projection": PROJECTIONS, "clock_gating": CLOCK_GATING, "read_policy": READ_POLICIES,
    "exponent_fire": EXPONENT_FIRE, "update_mode": UPDATE_MODES, "statistics_beyond": STATISTICS_BEYOND,
}  # fmt: skip


@dataclass(frozen=True)
class EstimateOptions:
    """Workload, macro, operating point, surroundings and accounting choices."""

    network: str = "mobilenet_v1"
    image_px: int = 224
    width: float = 1.0
    batch: int = 64
    classes: int = 1000
    channels: int = 3  #: of an image
    macro: str = "fan2023"
    #: a number (a budget for copies), "resident", "replicated" (2 × resident) [I], or "time_multiplexed:N", N macros
    #: whose weights are written anew for every layer and pass
    macros: str = "replicated"
    die_mm2: float | None = None  #: macros for "replicated" that fill a die of this area beside the buffer
    rows: int | None = None  #: these five: None keeps the preset's
    words_per_row: int | None = None
    compartments: int | None = None
    lane_bits: int | None = None
    serial_bits: int | None = None
    node_nm: int = 28
    vdd_v: float = 0.8
    corner: str = "tt"
    temp_c: float = 25.0
    pdk: str = "freepdk45"
    tables: str | None = None  #: folder of fresh tables
    gpu: str = "rtx3060"
    gpu_rows: str | None = None  #: file of one's own rows
    flavour: str = "HP"
    projection: str = "stillmaker_baas"  #: of the tables to the node; "ptm" interpolates kits of 32 and 22 nm
    constants: str = "nominal"
    clock_gating: str = "operation"
    read_policy: str = "hold"
    exponent_fire: str = "once"
    update_mode: str = "master_fp32"
    dram: str = "gddr6"
    buffer_bit: int = 16 * 1024 * 1024  #: [I] 2 MiB on chip
    vector_lanes: int = 512  #: [I]
    vector_clock_hz: float = 500e6  #: [I]
    chips: int = 1  #: that train together, each on a batch of its own
    link_bytes_per_s: float = 100e9  #: [I] out of a chip, and as much into it
    gradient_macros: int = 64  #: [I] activation macros of the resident policy
    cycle_s: float | None = None  #: a clock slower than the circuits allow; None takes theirs
    input_density: float = 0.5
    weight_density: float = 0.5
    toggle: float = 0.5
    write_flip: float = 0.5
    exponent_spread: float = 2.0  #: octaves [I]; 1.6 to 3.8 recorded in training on the digits
    zero_share: float = 0.0  #: of serial operands; 0.56 recorded of the digits' activations
    #: of the above, what lies beyond the tables' axes: "refuse" it, or price it at the axis's "end", which is said
    statistics_beyond: str = "refuse"

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name, str(field.type), getattr(self, field.name))
        if self.gpu_rows is None and card_slug(self.gpu) not in GPUS:
            raise BadInput(f"gpu: {', '.join(GPUS)} is allowed, or a card of --gpu-rows, got '{self.gpu}'")
        if self.projection == "ptm" and self.node_nm != 28:
            raise BadInput(f"projection: ptm interpolates to 28 nm, got node_nm {self.node_nm}; ask for "
                           "stillmaker_baas")
        if self.die_mm2 is not None and self.macros != "replicated":
            raise BadInput(f"die_mm2: an area in mm² with macros 'replicated' is allowed, got {self.die_mm2:g} with "
                           f"'{self.macros}'")
        self.policy()

    def _check(self, name: str, kind: str, value: object) -> None:
        """BadInput for a value of the wrong type, outside its range or not among its words."""
        if value is None and "None" in kind:
            return
        if name in _ALLOWED and value not in _ALLOWED[name]:
            raise BadInput(f"{name}: {', '.join(str(a) for a in _ALLOWED[name])} is allowed, got '{value}'")
        if kind.startswith("str"):
            if not isinstance(value, str):
                raise BadInput(f"{name}: a word is allowed, got {value!r}")
            return
        number = isinstance(value, int if kind.startswith("int") else (int, float)) and not isinstance(value, bool)
        low, high = RANGES.get(name, (-math.inf, math.inf))
        if not (isinstance(value, (int, float)) and number and low <= value <= high):
            span = f" of {low:.10g} to {high:.10g}" if name in RANGES else ""
            raise BadInput(f"{name}: {'a whole number' if kind.startswith('int') else 'a number'}{span} is allowed, "
                           f"got {value!r}")

    def policy(self) -> tuple[str, int | None]:
        """(policy, budget of macros or None)."""
        if self.macros in ("resident", "replicated"):
            return self.macros, None
        shared, _, number = self.macros.rpartition(":")
        if shared not in ("", "time_multiplexed") or not (number.isascii() and number.isdigit() and len(number) < 20
                                                          and 1 <= int(number) <= MOST_MACROS):
            raise BadInput(f"macros: 'resident', 'replicated', a whole number of 1 to {MOST_MACROS} or "
                           f"'time_multiplexed:N' is allowed, got '{self.macros}'")
        return shared or "replicated", int(number)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EstimateOptions:
        """Inverse of :meth:`to_json`; BadInput names an unknown option."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise BadInput(f"options: {', '.join(unknown)} not known; known are {', '.join(sorted(known))}")
        return cls(**data)
