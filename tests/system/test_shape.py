"""A macro of other dimensions: what each of them must do to energy, time, area and capacity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from charlib.errors import BadInput
from system.circuit import Term
from system.design import Design, evaluate, make_reader
from system.macro import logic_cells, partial_sum_bits
from system.options import EstimateOptions

OPTIONS = EstimateOptions(width=0.25, image_px=64, batch=4, macros="resident")


def design(**changes: int) -> Design:
    options = replace(OPTIONS, **changes)  # type: ignore[arg-type]
    return evaluate(options, make_reader(options))


def test_none_keeps_the_preset() -> None:
    found = design().structure
    assert (found.rows, found.columns, found.compartments, found.lane_bits, found.serial_bits) == (16, 64, 32, 20, 1)


def test_more_bits_a_cycle_take_fewer_cycles_more_area_and_fewer_wordlines() -> None:
    one, two = design(), design(serial_bits=2)
    assert two.structure.serial_cycles == 4
    assert two.area.total_m2 > one.area.total_m2
    assert two.mapping.cycles("forward") == one.mapping.cycles("forward") / 2
    assert two.clock.paths_s["shift_accumulator"] > one.clock.paths_s["shift_accumulator"]
    products = [sum(t.value for t in d.circuit.product()) for d in (one, two)]
    assert products[1] < products[0]


def test_capacity_is_rows_words_and_compartments() -> None:
    assert design(words_per_row=2).structure.capacity_bit == design().structure.capacity_bit // 2
    assert design(compartments=64).structure.capacity_bit == design().structure.capacity_bit * 2


def test_every_flip_flop_of_the_compute_wires_has_area_and_leaks() -> None:
    """The compartment's own leakage holds one at each fourth column; a word's others are beside it."""
    assert logic_cells(design(serial_bits=4).structure, design(serial_bits=4).circuit)["compartment_flip_flops"] == {
        "dff": 32 * 16 * 4}
    one = design().circuit.reader.read("dff_leakage_w").value

    def flip_flops_w(**changes: int) -> float:
        return sum(t.value for t in design(**changes).leakage if t.reading.source == "dff_leakage_w") / one

    step = flip_flops_w()
    assert flip_flops_w(serial_bits=2) == pytest.approx(step + 32 * 16, rel=1e-12)
    assert flip_flops_w(words_per_row=2) == pytest.approx(step + 32 * (16 - 8), rel=1e-12)


def test_partial_sums_leak_as_the_buffer_does() -> None:
    def a_bit(terms: tuple[Term, ...], bits: int) -> float:
        return sum(t.value for t in terms if t.reading.source == "bitcell_leakage_w") / bits

    found = design()
    assert partial_sum_bits(found.structure) == 64 * 32
    assert a_bit(found.leakage, 64 * 32) == pytest.approx(
        a_bit(found.chip.buffer_leakage, found.options.buffer_bit), rel=1e-12)


def test_a_shorter_row_has_as_many_computed_columns_and_a_whole_row_s_wordline() -> None:
    """Words behind a multiplexer share their compute wires; bitlines go with the columns."""
    def lines(words: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for term in design(words_per_row=words).circuit.product():
            line = str(term.reading.coordinates.get("line", ""))
            found[line] = found.get(line, 0.0) + term.value
        return found

    one, four = lines(1), lines(4)
    assert all(one[line] == pytest.approx(four[line], rel=1e-12)
               for line in ("compute_wire", "wordline", "input_logic", "control"))
    assert four["bitline"] == pytest.approx(4 * one["bitline"], rel=1e-12)
    assert [(at.field, at.asked, at.priced) for at in design(words_per_row=2).circuit.beyond()] == [
        ("wordline_columns", 32, 64)]
    assert design(words_per_row=4).circuit.beyond() == ()


def test_a_tap_group_that_no_tree_has_is_said(tmp_path: Path) -> None:
    """The composed trees have groups of nine lanes."""
    macro = tmp_path / "macro.yaml"
    macro.write_text("depthwise_group: 16\n")
    options = EstimateOptions(image_px=32, width=0.25, batch=4, macro=str(macro))
    found = evaluate(options, make_reader(options)).circuit.beyond()
    assert [(at.field, at.asked, at.priced) for at in found] == [("depthwise_group", 16, 9)]


def test_a_wider_lane_costs_more() -> None:
    energies = [design(lane_bits=bits).cost.energy_j("macro_only") for bits in (16, 20)]
    assert energies[0] < energies[1]


@pytest.mark.parametrize(("changes", "message"), [
    ({"serial_bits": 3}, "serial_bits: 1, 2, 4 or 8 is allowed, got 3"),
    ({"lane_bits": 2}, "lane_bits: a whole number of 4 to 256 is allowed, got 2"),
    ({"rows": 0}, "rows: a whole number of 1 to 4096 is allowed, got 0"), ({"rows": 512}, "rows spans"),
    ({"words_per_row": 8}, "words_per_row: 1 to 4 is allowed, got 8: the wordline that was simulated has 64 columns"),
])
def test_dimensions_that_cannot_be(changes: dict[str, int], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        design(**changes)
