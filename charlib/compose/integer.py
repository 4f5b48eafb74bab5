"""Tables of a bit-serial integer macro's blocks over the densities of ones of input and weight; from cell tables.

An operation is a whole product: all serial cycles of one lane, or of all lanes of a tree. The blocks are those of the
ancestor `yan2022` (INT8) and of two ways in which it might have been built instead:

    int8_serialiser        the operand's shift register, one a compartment
    int8_accumulator       signed shift-accumulator of one lane, 8 cycles, 16 bits
    int8_post_sum          tree over 32 finished products; isolated while the accumulators count
    int8_post_sum_open     the same tree without isolation: it follows every cycle of the accumulators
    int8_sum_first         instead of lanes' accumulators: tree over 32 partial products, every cycle
    int8_sum_accumulator   and the one accumulator behind it
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from charlib.compose.cost import WARM_UP, BlockCost, account_cells, block_cost
from charlib.compose.design import MacroBlock
from charlib.compose.library import CellLibrary, cell_library
from charlib.compose.tables import CONVENTIONS, ENGINE, PVT_AXES, Surroundings, operating_points
from charlib.gates.compound import pruned
from charlib.gates.integer import post_sum_tree, signed_shift_accumulator
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes, bits_of
from charlib.gates.serial import input_serialiser
from charlib.table import Table, TableSet

LANES, OPERAND_BITS = 32, 8
PRODUCT_BITS = 2 * OPERAND_BITS
LEVELS = int(math.log2(LANES))
#: shares of ones at which blocks are tabulated
INPUT_DENSITIES = WEIGHT_DENSITIES = (0.0, 0.0625, 0.125, 0.25, 0.5)
OPERATIONS = 24
SEED = 20220223
#: accumulators are priced as so many lanes one after the other
ACCUMULATED = 8
SAID = {
    "operation": "one whole INT8 product, eight cycles, most significant bit first; of a tree, of all its lanes",
    "operands": "two's complement, every bit 1 with its density, independent; a new word and operand each product",
    "wires": CONVENTIONS["wires"], "delay": CONVENTIONS["delay"],
    "spread": CONVENTIONS["spread"], "composed_of": CONVENTIONS["composed_of"],
    "energy": CONVENTIONS["energy"],
}
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Products:
    """Cycle by cycle, what INT8 operands make of a macro's nets: all (operations, cycles, lanes).

    serial: the operand's bit; partial: bit × word; accumulated: the lane's register after the cycle's edge.
    """

    serial: Integers
    partial: Integers
    accumulated: Integers


def signed(codes: Codes) -> Integers:
    """Codes' low byte as numbers from −128 to 127."""
    return np.asarray(codes.astype(np.uint8).view(np.int8), dtype=np.int64)


def draw_int8(density: float, shape: tuple[int, int], seed: int) -> Codes:
    """Bytes whose every bit is 1 with this probability."""
    rng = np.random.Generator(np.random.Philox(seed))
    return np.packbits(rng.random((*shape, OPERAND_BITS)) < density, axis=-1)[..., 0].astype(np.uint16)


def products(x: Codes, w: Codes) -> Products:
    """Codes (operations, lanes) through the serial multiplication."""
    places = np.arange(OPERAND_BITS)[::-1]
    serial = (x.astype(np.int64)[:, None, :] >> places[None, :, None]) & 1
    partial = serial * signed(w)[:, None, :]
    accumulated = np.zeros_like(partial)
    for cycle in range(OPERAND_BITS):
        before = 2 * accumulated[:, cycle - 1] if cycle else 0
        accumulated[:, cycle] = before + (partial[:, cycle] if cycle else -partial[:, cycle])
    return Products(serial, partial, accumulated)


def _word(values: Integers, bits: int) -> Bits:
    return bits_of(values & ((1 << bits) - 1), bits)


def _rows(numbers: Integers) -> Integers:
    """(operations, cycles, lanes) as (rows, lanes), one row a cycle."""
    return numbers.reshape(-1, numbers.shape[-1])


def _lanes(values: Integers, bits: int) -> Bits:
    return np.hstack([_word(values[:, k], bits) for k in range(values.shape[1])])


def _whole(rows: Bits) -> Bits:
    """Rows without the last few, so that the steps after the warm-up are whole operations."""
    return rows[:len(rows) - (OPERAND_BITS - 1 - WARM_UP)]


def _serialiser(x: Codes, w: Codes, seed: int) -> Bits:
    rows = np.zeros((len(x), OPERAND_BITS, 1 + OPERAND_BITS), np.uint8)
    rows[:, 0, 0], rows[:, 0, 1:] = 1, _word(x[:, 0].astype(np.int64), OPERAND_BITS)
    return _whole(rows.reshape(-1, 1 + OPERAND_BITS))


def _steps(partial: Integers, serial: Integers, bits: int) -> Bits:
    """Inputs of an accumulator cycle by cycle: clear_n, negative, pp. partial, serial: (operations, cycles)."""
    first = np.zeros_like(serial, dtype=bool)
    first[:, 0] = True
    return _whole(np.hstack([np.where(first, 0, 1).astype(np.uint8).reshape(-1, 1),
                             (first & (serial == 1)).astype(np.uint8).reshape(-1, 1), _word(partial.ravel(), bits)]))


def _lane(x: Codes, w: Codes, seed: int) -> Bits:
    """One lane after the other through one accumulator."""
    p = products(x, w)
    in_turn = [np.moveaxis(one, 2, 0).reshape(-1, OPERAND_BITS) for one in (p.partial, p.serial)]
    return _steps(in_turn[0], in_turn[1], OPERAND_BITS)


def _post_sum(isolated: bool) -> Callable[[Codes, Codes, int], Bits]:
    def make(x: Codes, w: Codes, seed: int) -> Bits:
        values = _rows(products(x, w).accumulated)
        use = np.ones((len(values), values.shape[1]), np.uint8)
        if isolated:
            use[np.arange(len(values)) % OPERAND_BITS != OPERAND_BITS - 1] = 0
        return _whole(np.hstack([use, _lanes(values, PRODUCT_BITS)]))
    return make


def _sum_first(x: Codes, w: Codes, seed: int) -> Bits:
    values = _rows(products(x, w).partial)
    return _whole(np.hstack([np.ones((len(values), values.shape[1]), np.uint8), _lanes(values, OPERAND_BITS)]))


def _sums(x: Codes, w: Codes, seed: int) -> Bits:
    """The tree has taken the sign with it: its sum of the first cycle is subtracted whatever the bits."""
    p = products(x, w)
    return _steps(p.partial.sum(axis=2), np.ones(p.serial.shape[:2], np.int64), OPERAND_BITS + LEVELS)


@cache
def integer_blocks() -> Mapping[str, MacroBlock]:
    """Every block, by name."""
    lane = signed_shift_accumulator(OPERAND_BITS, PRODUCT_BITS)
    behind = signed_shift_accumulator(OPERAND_BITS + LEVELS, PRODUCT_BITS + LEVELS)
    tree, first = post_sum_tree(LANES, PRODUCT_BITS), post_sum_tree(LANES, OPERAND_BITS)
    made = (("int8_serialiser", input_serialiser(OPERAND_BITS), _serialiser, 1),
            ("int8_accumulator", lane, _lane, ACCUMULATED),
            ("int8_post_sum", tree, _post_sum(True), LANES), ("int8_post_sum_open", tree, _post_sum(False), LANES),
            ("int8_sum_first", first, _sum_first, LANES), ("int8_sum_accumulator", behind, _sums, LANES))
    return {name: MacroBlock(name, pruned(circuit), lanes, vectors, {}, OPERAND_BITS)
            for name, circuit, vectors, lanes in made}


def priced(block: MacroBlock, library: CellLibrary, around: Surroundings, densities: tuple[float, float],
           register_j: float, operations: int = OPERATIONS) -> BlockCost:
    """One block at (input density, weight density)."""
    shape = (operations, block.lanes)
    x, w = (draw_int8(density, shape, 2 * SEED + k) for k, density in enumerate(densities))
    return block_cost(block, library, x, w, around.loads, seed=SEED, input_slew_s=around.input_slew_s,
                      register_j=register_j)


def integer_tables(tables: TableSet, around: Surroundings, blocks: Sequence[str] = ()) -> list[Table]:
    """`integer_energy_j`, `integer_delay_s`, `integer_cell_count` at every operating point.

    blocks: names; empty means all.
    """
    chosen = {name: integer_blocks()[name] for name in (tuple(blocks) or tuple(integer_blocks()))}
    energies: list[dict[str, Any]] = []
    delays: list[dict[str, Any]] = []
    said = dict(SAID)
    for corner, temp_c, vdd_v in operating_points(tables):
        library = cell_library(tables, corner=corner, temp_c=temp_c, vdd_v=vdd_v)
        register_j = float(tables["dff_energy_j"].at(corner=corner, temp_c=temp_c, vdd_v=vdd_v, event="data"))
        label = f"composed:{corner}/{temp_c:g}/{vdd_v:g}"
        said[f"runs of {label}"] = ",".join(library.runs)
        where = {"corner": corner, "temp_c": temp_c, "vdd_v": vdd_v, "run": label}
        for name, block in chosen.items():
            for densities in itertools.product(INPUT_DENSITIES, WEIGHT_DENSITIES):
                cost = priced(block, library, around, densities, register_j)
                at = {**where, "block": name, "input_density": densities[0], "weight_density": densities[1]}
                energies.append({**at, "value": cost.total_j, "spread": _error(cost)})
            delays.append({**where, "block": name, "value": cost.static_s})
    origin = replace(tables["pair_energy_j"].origin, engine=f"{tables['pair_energy_j'].origin.engine}; {ENGINE}")
    plain = {**PVT_AXES, "block": ""}
    axes = {**plain, "input_density": "1", "weight_density": "1"}
    kinds = sorted({i.cell for block in chosen.values() for i in block.circuit.instances})
    cells = [{"block": name, "cell": kind, "value": account_cells(block)[name].get(kind, 0), "run": ENGINE}
             for name, block in chosen.items() for kind in kinds]
    return [Table.from_records("integer_energy_j", "J", axes, energies, origin, said),
            Table.from_records("integer_delay_s", "s", plain, delays, origin, said),
            Table.from_records("integer_cell_count", "1", {"block": "", "cell": ""}, cells, origin,
                               {"count": "instances in the generated netlist, buffers included"})]


def _error(cost: BlockCost) -> float:
    """Standard error of the whole."""
    return math.hypot(*cost.error_j.values())
