"""The exported Verilog: Yosys counts its cells, and proves what it computes against plain arithmetic."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from charlib.compose.macro import macro_blocks
from charlib.errors import BadInput
from charlib.gates import Block, Builder, Instance, adder_tree, full_adders_closed_form, shift_accumulator
from charlib.gates import arithmetic as a
from charlib.gates.catalogue import named_block
from charlib.gates.fused import FusedTree, fused_tree
from charlib.gates.verilog import cell_models, instance_names, to_verilog

NAMED = ("ripple_8", "carry_select_8", "prefix_8", "carry_save_6x4", "shifter_12", "leading_zeros_16", "maximum_4x6",
         "normaliser_10", "negate_12", "rounder_8")
MACRO = ("exponent_adder", "hidden_bit_generator", "hadamard_post", "update_adder", "tile_accumulator",
         "compartment_accumulator", "stochastic_source", "decoder",
         "macro_control", "fused_tree_16x20")


@pytest.fixture(scope="module")
def yosys() -> str:
    found = shutil.which("yosys")
    if found is None:
        pytest.skip("yosys is not on this machine; run 'apt-get install -y yosys'")
    return found


def run(yosys: str, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([yosys, "-q", "-p", script], capture_output=True, text=True, check=False)


def counted(yosys: str, block: Block, folder: Path) -> dict[str, int]:
    """Yosys's count of each cell; the models are black boxes to it, so that nothing inside them counts."""
    (folder / "cells.v").write_text(cell_models())
    (folder / "block.v").write_text(to_verilog(block))
    done = run(yosys, f"read_verilog -lib {folder}/cells.v; read_verilog {folder}/block.v; "
                      f"hierarchy -check -top {block.name}; check -assert; tee -o {folder}/stat.json stat -json")
    assert done.returncode == 0, done.stdout + done.stderr
    modules = json.loads((folder / "stat.json").read_text())["modules"]
    found: dict[str, int] = modules[f"\\{block.name}"]["num_cells_by_type"]
    return found


def proven(yosys: str, block: Block, reference: str, folder: Path, sat: str = "") -> bool:
    """Whether Yosys's SAT solver finds no input on which the block and the module `reference` differ."""
    (folder / "all.v").write_text(cell_models() + to_verilog(replace(block, name="dut")) + reference)
    done = run(yosys, f"read_verilog {folder}/all.v; proc; hierarchy -check; miter -equiv -flatten -make_assert "
                      f"dut reference both; hierarchy -top both; opt; sat -verify -prove-asserts {sat} both")
    said = done.stdout + done.stderr
    assert done.returncode == 0 or "proof did fail" in said, said
    return done.returncode == 0


def module(block: Block, body: str) -> str:
    """A module `reference` with the block's ports, of which `body` says what they are."""
    return (f"module reference ({', '.join((*block.inputs, *block.outputs))});\n"
            f"input {', '.join(block.inputs)};\noutput {', '.join(block.outputs)};\n{body}\nendmodule\n")


def word(nets: Sequence[str]) -> str:
    """Nets, bit 0 first, as a Verilog vector."""
    return "{" + ", ".join(reversed(nets)) + "}"


def extended(nets: Sequence[str], width: int) -> str:
    """The same, sign-extended."""
    return word([*nets, *[nets[-1]] * (width - len(nets))])


def vector(prefix: str, width: int) -> str:
    """Nets prefix0, prefix1, … as a vector."""
    return word([f"{prefix}{k}" for k in range(width)])


@pytest.mark.parametrize("name", NAMED)
def test_yosys_counts_the_cells_of_small_blocks(yosys: str, name: str, tmp_path: Path) -> None:
    block = named_block(name)
    assert counted(yosys, block, tmp_path) == block.cell_counts()


@pytest.mark.parametrize("name", MACRO)
def test_yosys_counts_the_cells_of_the_macro(yosys: str, name: str, tmp_path: Path) -> None:
    block = macro_blocks()[name].circuit
    assert counted(yosys, block, tmp_path) == block.cell_counts()


@pytest.mark.parametrize("tree", ["ripple", "carry_save"])
def test_yosys_counts_the_cells_of_fused_trees(yosys: str, tree: str, tmp_path: Path) -> None:
    block = fused_tree(FusedTree(lanes=5, guard_bits=2, align_mode="sticky", adder="prefix", tree=tree))
    assert counted(yosys, block, tmp_path) == block.cell_counts()


@pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("bits", [1, 8])
def test_yosys_counts_adders_as_the_closed_form(yosys: str, lanes: int, bits: int, tmp_path: Path) -> None:
    """Of N lanes N − 1 adders are half ones, and with the full ones they are N(B+1) − (B + log2 N + 1)."""
    found = counted(yosys, adder_tree(lanes, bits), tmp_path)
    assert found["half_adder"] == lanes - 1
    assert sum(found.values()) == full_adders_closed_form(lanes, bits)


@pytest.mark.parametrize("lanes", range(2, 9))
def test_trees_of_any_lanes_count_and_add(yosys: str, lanes: int, tmp_path: Path) -> None:
    block = adder_tree(lanes, 3)
    assert counted(yosys, block, tmp_path) == block.cell_counts()
    total = " + ".join(vector(f"a{lane}_", 3) for lane in range(lanes))
    body = f"wire [{len(block.outputs) - 1}:0] s = {total}; assign {word(block.outputs)} = s;"
    assert proven(yosys, block, module(block, body), tmp_path)


@pytest.mark.parametrize("kind", ["ripple", "carry_select", "prefix"])
def test_adders_are_proven(yosys: str, kind: str, tmp_path: Path) -> None:
    block = named_block(f"{kind}_9")
    x, y = vector("x", 9), vector("y", 9)
    assert proven(yosys, block, module(block, f"assign {word(block.outputs)} = {x} + {y};"), tmp_path)


def test_a_wrong_cell_or_pin_is_found(yosys: str, tmp_path: Path) -> None:
    """The control: the same adder with two pins swapped, or one cell another, is not proven."""
    block = named_block("carry_select_6")
    reference = module(block, f"assign {word(block.outputs)} = {vector('x', 6)} + "
                              f"{vector('y', 6)};")
    assert proven(yosys, block, reference, tmp_path)
    at = next(k for k, i in enumerate(block.instances) if i.cell == "mux2")
    mux = block.instances[at]
    low, high, select = mux.inputs
    other_cell = Instance("half_adder", (low, high), (*mux.outputs, "spare"))
    for wrong in (replace(mux, inputs=(high, low, select)), other_cell):
        other = replace(block, instances=(*block.instances[:at], wrong, *block.instances[at + 1:]))
        assert not proven(yosys, other, reference, tmp_path)


def test_carry_save_trees_are_proven(yosys: str, tmp_path: Path) -> None:
    block = named_block("carry_save_5x3")
    width = len(block.outputs)
    words = [extended([f"x{lane}_{k}" for k in range(3)], width) for lane in range(5)]
    assert proven(yosys, block, module(block, f"assign {word(block.outputs)} = {' + '.join(words)};"), tmp_path)


def test_shifters_are_proven(yosys: str, tmp_path: Path) -> None:
    block = named_block("shifter_9")
    shifts = sum(net.startswith("by") for net in block.inputs)
    x, by = vector("x", 9), vector("by", shifts)
    body = (f"wire [8:0] x = {x}; wire [{shifts - 1}:0] by = {by};\n"
            f"assign {word([f'y{k}' for k in range(9)])} = x >> by;\n"
            "assign lost = (((x >> by) << by) != x);")
    assert proven(yosys, block, module(block, body), tmp_path)


def test_maxima_are_proven(yosys: str, tmp_path: Path) -> None:
    block = named_block("maximum_3x4")
    words = [vector(f"x{lane}_", 4) for lane in range(3)]
    body = (f"wire [3:0] a = {words[0]}, b = {words[1]}, c = {words[2]};\nwire [3:0] m = a > b ? a : b;\n"
            f"assign {word(block.outputs)} = m > c ? m : c;")
    assert proven(yosys, block, module(block, body), tmp_path)


def test_leading_zeros_are_proven(yosys: str, tmp_path: Path) -> None:
    """Where the word is empty the count is free, so `empty` hides it on both sides."""
    b = Builder("detector")
    count, empty = a.leading_zeros(b, b.word("x", 8))
    block = b.block(count=a.gate(b, count, b.inv(empty)), empty=empty)
    x = vector("x", 8)
    cases = " : ".join(f"x[{bit}] ? 3'd{7 - bit}" for bit in reversed(range(8)))
    body = f"wire [7:0] x = {x};\nassign {word(['count0', 'count1', 'count2'])} = {cases} : 3'd0;\nassign empty = !x;"
    assert proven(yosys, block, module(block, body), tmp_path)


def test_the_shift_accumulator_is_proven_clock_by_clock(yosys: str, tmp_path: Path) -> None:
    """Every output is state, so what holds over one clock from any equal state holds for ever (induction)."""
    block = shift_accumulator(4)
    body = (f"reg [7:0] held; assign {word(block.outputs)} = held;\nalways @(posedge clk) "
            f"held <= (clear_n ? (held << 1) : 8'd0) + {vector('pp', 4)};")
    induction = "-tempinduct -set-init-zero -seq 1 -maxsteps 4"
    assert proven(yosys, block, module(block, body), tmp_path, induction)
    assert not proven(yosys, block, module(block, body.replace("<< 1", "<< 2")), tmp_path, induction)


def test_names_do_not_meet() -> None:
    """Nets and instances share Verilog's one name space; words of the language and odd names are escaped."""
    block = Block("t", ("x0", "cell", "a.b"), ("y",), (Instance("nand2", ("x0", "cell"), ("x_n",)),
                                                      Instance("nand2", ("x_n", "a.b"), ("y",))))
    assert instance_names(block) == ("x_0", "x_1")
    text = to_verilog(block)
    assert "  nand2 x_0 (.a(x0), .b(\\cell ), .y(x_n));" in text
    assert "  input \\a.b ;" in text
    assert instance_names(adder_tree(2, 2)) == ("x0", "x1")


def test_yosys_reads_odd_names_and_constants(yosys: str, tmp_path: Path) -> None:
    block = Block("t", ("x0", "cell", "a.b"), ("y",), (Instance("nand2", ("x0", "cell"), ("x_n",)),
                                                      Instance("full_adder", ("x_n", "a.b", "1"), ("y", "rest"))))
    assert counted(yosys, block, tmp_path) == {"nand2": 1, "full_adder": 1}


@pytest.mark.parametrize(("inputs", "outputs", "said"), [
    (("a", "a"), ("y",), "port 'a' stands twice"), (("a",), ("y", "a"), "port 'a' stands twice"),
    (("a",), ("y", "1"), "port '1' is a constant")])
def test_ports_that_verilog_cannot_have_are_refused(inputs: tuple[str, ...], outputs: tuple[str, ...],
                                                    said: str) -> None:
    block = Block("t", inputs, outputs, (Instance("inv", ("a",), ("y",)),))
    with pytest.raises(BadInput, match=f"^Block 't': {said}; a Verilog port needs a net of its own; put a buffer "
                                       "before it$"):
        to_verilog(block)
