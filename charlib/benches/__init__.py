"""Benches by kind: everything that a campaign can characterise."""

from charlib.benches import (
    adder_tree,
    bitcell_access,
    bitcell_leakage,
    bitcell_mismatch,
    bitcell_snm,
    bitcell_write_margin,
    block_flat,
    cell,
    cell_arc,
    cell_leakage,
    cell_pair,
    cell_pulse,
    clock_leaf,
    compartment,
    compartment_mismatch,
    flip_flop,
    shift_accumulator,
)
from charlib.benches.base import Bench

_ALL: tuple[Bench, ...] = (
    bitcell_access.BENCH, bitcell_leakage.BENCH, bitcell_snm.BENCH, bitcell_write_margin.BENCH,
    bitcell_mismatch.BENCH, cell.BENCH, cell_arc.BENCH, clock_leaf.BENCH,
    cell_leakage.BENCH, cell_pair.BENCH, cell_pulse.BENCH, flip_flop.BENCH, compartment.BENCH,
    compartment_mismatch.BENCH, adder_tree.BENCH, shift_accumulator.BENCH, block_flat.BENCH,
)
BENCHES: dict[str, Bench] = {bench.kind: bench for bench in _ALL}

__all__ = ["BENCHES"]
