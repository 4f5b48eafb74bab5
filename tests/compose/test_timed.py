"""Timed simulation on the shipped cells: function, energy and delay, against what must hold whatever the numbers."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from charlib.compose.library import CellLibrary, cell_library
from charlib.compose.pipeline import pipeline_cut
from charlib.compose.pulses import KNOTS, fraction_curve, shift_curve, width_curve
from charlib.compose.static import static_timing
from charlib.compose.timed import Loads, path_of, timed_run
from charlib.errors import BadInput
from charlib.gates import Block, Builder, Instance, simulate
from charlib.gates.catalogue import JUDGED, named_block
from charlib.gates.logic import random_vectors
from charlib.gates.serial import registers
from charlib.paths import shipped_tables_dir
from charlib.table import TableSet, load_tables
from charlib.units import FEMTO, PICO

LOADS = Loads(0.12 * FEMTO, 1.35 * FEMTO)
SLEW_S = 18 * PICO


@pytest.fixture(scope="module")
def tables() -> TableSet:
    return load_tables(shipped_tables_dir("freepdk45"))


@pytest.fixture(scope="module")
def library(tables: TableSet) -> CellLibrary:
    return cell_library(tables, corner="tt", temp_c=25.0, vdd_v=0.8)


def chain(cells: int) -> Block:
    """Inverters one after the other."""
    nets = ["x", *(f"y{k}" for k in range(cells))]
    return Block("chain", ("x",), (nets[-1],), tuple(
        Instance("inv", (a,), (b,)) for a, b in itertools.pairwise(nets)))


@pytest.mark.parametrize("name", JUDGED)
def test_it_settles_at_the_function(name: str, library: CellLibrary) -> None:
    block = named_block(name)
    vectors = random_vectors(len(block.inputs), 40, 0.5, 3)
    run = timed_run(block, library, vectors, LOADS, input_slew_s=SLEW_S)
    assert np.array_equal(run.outputs, simulate(block, vectors))
    assert (run.total_j > 0).all()
    assert run.outside == 0
    static = static_timing(block, library, LOADS, input_slew_s=SLEW_S)
    assert run.settled_s.max() <= static.delay_s * 1.001
    assert static.delay_s == static.path[-1].arrival_s == max(
        t for net in block.outputs for t in static.arrival_s[net])


def test_a_chain_takes_cv2_and_its_own_delays(library: CellLibrary) -> None:
    """An even chain's cycle: each net rises once; below, gates and wires; above, diffusions and short circuit."""
    block, vectors = chain(8), np.array([[0], [1], [0]], np.uint8)
    run = timed_run(block, library, vectors, LOADS, input_slew_s=SLEW_S)
    pin = float(library.pin_f[library.index("inv"), 0])
    charged = (7 * (pin + LOADS.wire_f) + LOADS.output_f + LOADS.wire_f) * library.vdd_v**2
    assert charged < run.total_j.sum() < 3 * charged
    assert run.toggles.sum() == 16
    one = timed_run(chain(4), library, vectors, LOADS, input_slew_s=SLEW_S)
    assert run.settled_s.max() > one.settled_s.max() * 1.7
    assert [event.net for event in path_of(run, "y7")] == ["x", *(f"y{k}" for k in range(8))]


def test_more_wire_costs_more_energy_and_time(library: CellLibrary) -> None:
    block = named_block("adder_tree_4x4")
    vectors = random_vectors(16, 30, 0.5, 1)
    bare, wired = (timed_run(block, library, vectors, replace(LOADS, wire_f=wire), input_slew_s=SLEW_S)
                   for wire in (0.0, 1 * FEMTO))
    assert wired.total_j.sum() > 1.1 * bare.total_j.sum()
    assert wired.settled_s.mean() > bare.settled_s.mean()


def test_a_quiet_step_costs_nothing(library: CellLibrary) -> None:
    block = named_block("shifter_4")
    vectors = np.repeat(random_vectors(len(block.inputs), 2, 0.5, 1), 2, axis=0)
    run = timed_run(block, library, vectors, LOADS, input_slew_s=SLEW_S)
    assert run.total_j[[0, 2]].tolist() == [0, 0]
    assert run.total_j[1] > 0


def glitch(gap: int) -> Block:
    """x and not x, `gap` more inverters late: a pulse as long as they take."""
    b = Builder("glitch")
    x = late = b.input("x")
    made = [Instance("inv", (x,), ("l0",)), *(Instance("inv", (f"l{k}",), (f"l{k + 1}",)) for k in range(gap))]
    late = f"l{gap}"
    return Block("glitch", ("x",), ("y",), (*made, Instance("nand2", (x, late), ("y",))))


def test_short_pulses_die_and_long_ones_live(library: CellLibrary) -> None:
    step = np.array([[0], [1]], np.uint8)
    toggles = [int(np.sum([event.net == "y" for event in timed_run(
        glitch(gap), library, step, LOADS, input_slew_s=SLEW_S).trace])) for gap in (0, 2, 4, 10)]
    assert toggles[0] == 0
    assert toggles[-1] == 2
    energy = [timed_run(glitch(gap), library, step, LOADS, input_slew_s=SLEW_S).total_j[0] for gap in (4, 10)]
    control = timed_run(glitch(10), library, step, LOADS, input_slew_s=SLEW_S, zero_delay=True).total_j[0]
    assert energy[0] < energy[1]
    assert control < energy[1]


def test_curves_rise_from_nothing_to_everything() -> None:
    f = fraction_curve([0.5, 1.0, 1.5], [0.2, 0.6, 0.9])
    assert f[0] == 0
    assert f[-1] == 1
    assert (np.diff(f) >= 0).all()
    w = width_curve([1.0, 2.0], [0.4, 1.9])
    assert w[KNOTS == 3.0] == pytest.approx(2.9)
    assert shift_curve([0.2, 0.8], [-0.3, -0.1])[-1] == 0


def test_a_pipeline_has_enough_stages(library: CellLibrary) -> None:
    block = named_block("normaliser_10")
    timing = static_timing(block, library, LOADS, input_slew_s=SLEW_S)
    one = pipeline_cut(block, timing, 2 * timing.delay_s, 10 * PICO)
    assert (one.stages, one.registers) == (1, ())
    four = pipeline_cut(block, timing, timing.delay_s / 3.5 + 10 * PICO, 10 * PICO)
    assert four.stages == 4
    assert all(0 < count < 200 for count in four.registers)
    with pytest.raises(BadInput, match=r"^cycle_s: 1e-11 s leave nothing beside a register's 2e-11 s"):
        pipeline_cut(block, timing, 10 * PICO, 20 * PICO)


def test_what_cannot_be_composed_is_refused(tables: TableSet, library: CellLibrary) -> None:
    with pytest.raises(BadInput, match=r"^Block 'registers_2': it holds flip-flops"):
        timed_run(registers(2), library, np.zeros((2, 3), np.uint8), LOADS, input_slew_s=SLEW_S)
    with pytest.raises(BadInput, match=r"^Block 'chain': at least 2 vectors of 1 bits are needed"):
        timed_run(chain(1), library, np.zeros((1, 1), np.uint8), LOADS, input_slew_s=SLEW_S)
    with pytest.raises(BadInput, match=r"^cell library: table 'pair_energy_j' is missing"):
        cell_library(TableSet([]), corner="tt", temp_c=25.0, vdd_v=0.8)
    with pytest.raises(BadInput, match="corner has tt; asked for ss"):
        cell_library(tables, corner="ss", temp_c=25.0, vdd_v=0.8)
