"""The estimate on synthetic tables: sums, hand calculation, refusals, trace, commands."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charlib.errors import BadInput, HimcError
from charlib.paths import shipped_tables_dir
from charlib.table import TableSet, load_tables
from system.assumptions import CONSTANTS, Constant
from system.blocks import BOUNDARIES, EVENTS
from system.circuit import Activity, MacroCircuit, technology
from system.claims import claims
from system.cli import app
from system.design import evaluate, make_reader
from system.estimate import estimate, schema, validate
from system.gpu import GPUS
from system.options import EstimateOptions
from system.readings import Point, Reader
from system.structure import macro_structure
from system.tracing import trace_estimate

OPTIONS = EstimateOptions(image_px=64, width=0.5, batch=8, classes=10)


@pytest.fixture(scope="module")
def document(tables: TableSet) -> dict[str, Any]:
    return estimate(OPTIONS, tables)


def test_it_fits_its_schema(document: dict[str, Any]) -> None:
    validate(json.loads(json.dumps(document)))
    with pytest.raises(HimcError, match=r"^estimate: \$ does not fit the schema"):
        validate({k: v for k, v in document.items() if k != "imc"})


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_breakdowns_sum(document: dict[str, Any], boundary: str) -> None:
    part = document["imc"][boundary]
    joules = [j for passes in part["breakdown"]["energy_j"].values() for j in passes.values()]
    assert math.fsum(joules) == pytest.approx(part["energy_j_per_image"], rel=1e-9)
    seconds = dict(part["breakdown"]["time_s"])
    overlapped = seconds.pop("overlapped_s")
    assert math.fsum(seconds.values()) - overlapped == pytest.approx(part["time_s_per_image"], rel=1e-9)
    low, high = part["energy_j_per_image_range"]
    assert low < part["energy_j_per_image"] < high


def test_boundaries_nest(document: dict[str, Any]) -> None:
    energies = [document["imc"][b]["energy_j_per_image"] for b in BOUNDARIES]
    times = [document["imc"][b]["time_s_per_image"] for b in BOUNDARIES]
    assert energies == sorted(energies)
    assert times == sorted(times)


def test_every_block_costs_something(tables: TableSet) -> None:
    """Every term of the accounting is there and non-zero, over both update modes and both gradient modes."""
    seen: set[str] = set()
    for mode in ("master_fp32", "stochastic"):
        options = replace(OPTIONS, update_mode=mode, image_px=224, batch=64)
        seen |= {c.event for c in evaluate(options, make_reader(options, tables)).cost.contributions if c.energy_j}
    assert seen == set(EVENTS)


def test_every_tensor_class_has_type_home_reads_and_writes(document: dict[str, Any]) -> None:
    names = {t["tensor"] for t in document["tensors"]}
    assert names == {"weight", "master_copy", "momentum", "weight_gradient", "saved_activation",
                     "activation_gradient", "batch_norm_statistics", "input"}
    assert all(t["home"] in ("array", "buffer", "dram") and t["writes_per_step"] + t["reads_per_step"] > 0
               for t in document["tensors"])


def test_one_product_by_hand(tables: TableSet) -> None:
    """Sixteen groups, seven of sixteen columns on serial bits, wordline once."""
    reader = Reader(Point("tt", 25.0, 0.8), tables, load_tables(shipped_tables_dir("freepdk45")), "freepdk45")
    circuit = MacroCircuit(macro_structure("fan2023"), reader, technology(45, "HP", 0.8), Activity())
    square = 0.64e-15
    shared = 8 * (20 / 8 + 0.2)  # wordline held over eight cycles, control; the decoder is its own event
    ones = 8 * 7 / 16 * 0.5 + 9 / 16
    wire = 0.5 * ones * 1.0 + (8 - 0.5 * ones) * 0.1
    repeated = 16 * (8 * (0.2 + 4 / 8 + 0.2 + 0.5 + 1.0) + wire)
    assert sum(t.value for t in circuit.product()) == pytest.approx((shared + repeated) * square, rel=1e-12)


def test_hand_calculated_layer_energy(tables: TableSet) -> None:
    """conv1's forward shift-accumulator energy: MACs × one operation × the node's ratio."""
    options = replace(OPTIONS, node_nm=45, macros="resident")
    design = evaluate(options, make_reader(options, tables))
    found = sum(c.energy_j for c in design.cost.contributions
                if c.event == "shift_accumulate" and c.pass_name == "forward")
    assert found == pytest.approx(design.network.macs_forward * 5e-15 * 8 * 1.5, rel=1e-12)


def test_reread_and_supply_cost_more(tables: TableSet) -> None:
    def energy(**changes: Any) -> float:
        options = replace(OPTIONS, **{"node_nm": 45, **changes})
        return evaluate(options, make_reader(options, tables)).cost.energy_j("macro_only")

    assert energy() < energy(read_policy="reread") < energy(read_policy="reread", exponent_fire="every")
    assert energy(vdd_v=0.8) < energy(vdd_v=0.9) < energy(vdd_v=1.0)
    assert energy() == energy(clock_gating="operation") < energy(clock_gating="pass") < energy(clock_gating="none")


def test_a_slower_clock_can_be_asked_for(tables: TableSet) -> None:
    """The check of accounting.md through the whole estimate: one copy, 3 ns, first pointwise layer 19.27 ms."""
    options = EstimateOptions(macros="resident", batch=1, cycle_s=3e-9)
    found = estimate(options, tables)
    row = next(r for r in found["schedule"] if r["layer"] == "pw1" and r["pass"] == "forward")
    assert row["time_s_per_image"] == pytest.approx(19.267584e-3, rel=1e-12)
    assert found["network"]["macs_training"] == 1_695_383_040
    with pytest.raises(BadInput, match=r"^cycle_s: 1e-12 s is shorter than the compartment path allows"):
        estimate(replace(options, cycle_s=1e-12), tables)


def test_the_claims_are_on_record() -> None:
    assert {c.name: c.value for c in claims()}["energy_saving_fraction"] == 0.912


def test_statistics_make_an_interval_and_not_a_range(tables: TableSet) -> None:
    plain = estimate(OPTIONS, tables)["imc"]["macro_only"]
    drawn = plain["energy_j_per_image_interval"]  # composed blocks: the standard error of their operands
    spread = TableSet([replace(t, spread=0.02 * t.values) for t in tables.values()])
    wide = estimate(OPTIONS, spread)["imc"]["macro_only"]
    low, high = wide["energy_j_per_image_interval"]
    assert low < drawn[0] < wide["energy_j_per_image"] < drawn[1] < high
    assert wide["energy_j_per_image_range"] == plain["energy_j_per_image_range"]


def test_headline_is_a_range_over_scaled_rows(document: dict[str, Any]) -> None:
    rows = document["gpu"]
    assert {r["time_source"] for r in rows} == {"compute_roofline", "memory_roofline", "scaled_measured"}
    assert {r["time_source"] for r in rows if r["headline"]} == {"scaled_measured"}
    shares = [r for r in rows if r["power_source"] == "measured_fraction"]
    assert {r["headline"] for r in shares if "input-bound" in r["caveat"]} == {False}
    assert all("128 px" in r["caveat"] for r in shares if "input-bound" in r["caveat"])
    assert any(r["headline"] for r in shares)
    assert all(r["composed"] for r in rows if r["headline"])
    low, high = document["headline"]["system"]["energy_fraction_range"]
    assert low < high
    assert {s["boundary"]: s["scopes_equal"] for s in document["saving"]} == {
        "macro_only": False, "with_buffers": False, "system": True}


def test_trace_recomputes_every_joule(document: dict[str, Any], tables: TableSet) -> None:
    trace = trace_estimate(document, "estimate.imc.macro_only.energy_j_per_image", tables)
    assert math.fsum(e.energy_j for e in trace.entries) == pytest.approx(trace.value, rel=1e-9)
    for entry in trace.entries:
        assert entry.energy_j == pytest.approx(
            entry.events * entry.value * entry.multiplier * entry.scale_factor, rel=1e-12)
        assert entry.run_ids or entry.citation
    one = trace_estimate(document, "imc.system.breakdown.energy_j.dram_access", tables)
    assert {e.table for e in one.entries} == {"gddr6_j_per_bit"}
    assert trace_estimate(document, "macro.clock_hz", tables).unit == "Hz"


def test_trace_refuses(document: dict[str, Any], tables: TableSet) -> None:
    with pytest.raises(BadInput, match=r"^path 'imc.nothing': no 'nothing' there; it holds macro_only"):
        trace_estimate(document, "imc.nothing", tables)
    with pytest.raises(BadInput, match=r"^path 'network.batch': this figure has no trace"):
        trace_estimate(document, "network.batch", tables)
    changed = json.loads(json.dumps(document))
    changed["imc"]["system"]["energy_j_per_image"] *= 1.01
    with pytest.raises(HimcError, match="the tables have changed"):
        trace_estimate(changed, "imc.system.energy_j_per_image", tables)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vdd_v": -1.0}, r"^vdd_v: a number of 0\.01 to 20 is allowed, got -1\.0$"),
        ({"vdd_v": 800.0}, r"^vdd_v: a number of 0\.01 to 20 is allowed, got 800\.0$"),
        ({"vector_clock_hz": 500.0}, r"^vector_clock_hz: a number of 1000000 to 1e\+12 is allowed, got 500\.0$"),
        ({"link_bytes_per_s": 100.0}, r"^link_bytes_per_s: a number of 1000000 to 1e\+15 is allowed, got 100\.0$"),
        ({"cycle_s": 0.003}, r"^cycle_s: a number of 1e-12 to 1e-06 is allowed, got 0\.003$"),
        ({"vdd_v": 0.5, "node_nm": 45}, r"vdd_v spans \[0\.8, 1\]"),
        ({"vdd_v": 0.9}, "^vdd_v: 0.9 V cannot be scaled from 45 to 28 nm: the 32 nm HP delay fit"),
        ({"corner": "zz"}, "corner: 'zz' is not in the tables of freepdk45; they hold ff, ss, tt"),
        ({"pdk": "nosuch"}, "made with pdk 'freepdk45', asked for 'nosuch'"),
        ({"network": "alexnet"}, "^network: 'alexnet' does not exist; choose mobilenet_v1, .*, or file.py:function$"),
        ({"macro": "yan2022"}, "^macro: 'yan2022' multiplies integers and cannot train in BF16; choose fan2023$"),
        ({"macro": "x"}, "^macro: 'x' does not exist; choose fan2023 or yan2022, or a FILE.yaml of "
         "'himc init macro'$"),
    ],
)
def test_estimates_that_are_refused(changes: dict[str, Any], message: str, tables: TableSet) -> None:
    with pytest.raises(BadInput, match=message):
        estimate(replace(OPTIONS, **changes), tables)


def test_one_channel_takes_a_third_of_the_first_layers_products() -> None:
    colour = estimate(EstimateOptions(image_px=32, width=0.25, batch=2))
    grey = estimate(EstimateOptions(image_px=32, width=0.25, batch=2, channels=1))
    first = 16 * 16 * 9 * 8  # positions, taps, kernels of the first layer
    assert colour["network"]["macs_forward"] - grey["network"]["macs_forward"] == 2 * first
    assert grey["imc"]["system"]["energy_j_per_image"] < colour["imc"]["system"]["energy_j_per_image"]


def test_tables_of_another_node_are_named_and_not_scaled_from_45_nm() -> None:
    small = EstimateOptions(pdk="ptm32hp", node_nm=45, image_px=32, width=0.25, batch=2)
    assert estimate(small)["origin"]["pdk_node_nm"] == 32
    with pytest.raises(BadInput, match=r"^pdk: the tables of ptm32hp are of 32 nm, scaling to 28 nm starts at"):
        estimate(replace(small, node_nm=28))
    words = ["estimate", "mobilenet_v1", "--image-px", "32", "--pdk", "ptm32hp", "--node-nm", "45"]
    told = " ".join(CliRunner().invoke(app, words).stdout.split())
    assert "tables of ptm32hp, of 32 nm, as they are; areas, wires around the macros and constants are of 45" in told
    assert "these tables hold no Monte Carlo: clock and time are without mismatch" in told


@pytest.mark.parametrize(("pdk", "vdd_v"), [("sky130", 1.8), ("ptm22lp", 0.95), ("ptm16hp", 0.7)])
def test_a_kit_without_composed_circuits_is_refused_with_the_command_that_makes_them(pdk: str, vdd_v: float) -> None:
    """143 mJ an image of sky130 came from typed activities."""
    options = EstimateOptions(pdk=pdk, node_nm=45, vdd_v=vdd_v, image_px=32, width=0.25, batch=2)
    command = f"himc characterize --pdk {pdk} --corner tt --temp-c 25 --vdd-v {vdd_v:g} --out tables-{pdk}"
    with pytest.raises(BadInput, match=rf"^Table 'composed_cell_count': not in \S+{pdk}, and nothing is guessed in "
                                       rf"its place; run '{command}' to make it, then give --tables tables-{pdk}$"):
        estimate(options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch: a whole number of 1 to 1048576 is allowed, got 0"),
        ({"node_nm": 7}, "node_nm: 45, 28 is allowed, got '7'"),
        ({"macros": "-3"}, "macros: 'resident', 'replicated', a whole number of 1 to 1073741824 or "
         "'time_multiplexed:N' is allowed, got '-3'"),
        ({"gpu": "rtx9"}, f"gpu: {', '.join(GPUS)} is allowed, or a card of --gpu-rows, got 'rtx9'"),
    ],
)
def test_options_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        replace(OPTIONS, **changes)
    assert str(caught.value) == message


def test_options_survive_json() -> None:
    assert EstimateOptions.from_json(json.loads(json.dumps(OPTIONS.to_json()))) == OPTIONS
    with pytest.raises(BadInput, match=r"^options: nonsense not known; known are "):
        EstimateOptions.from_json({"nonsense": 1})


def test_constants_have_unit_and_citation() -> None:
    assert all(c.unit and c.citation for c in CONSTANTS.values())
    with pytest.raises(BadInput, match=r"^Constant 'x': low <= value <= high must hold, got 2, 1, 3$"):
        Constant("x", "J", 1, 2, 3, "somewhere")


def test_commands(tables_dir: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    arguments = ["estimate", "mobilenet_v1", "--image-px", "64", "--tables", str(tables_dir), "--json"]
    done = runner.invoke(app, [*arguments, "-"])
    assert done.exit_code == 0, done.output
    validate(json.loads(done.stdout))
    done = runner.invoke(app, [*arguments, str(tmp_path / "e.json")])
    assert done.exit_code == 0
    document = json.loads((tmp_path / "e.json").read_text())
    low, high = document["headline"]["system"]["time_fraction_range"]
    assert f"{low * 100:.1f} to {high * 100:.1f} %" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert schema("estimate") == json.loads(runner.invoke(app, ["schema", "estimate"]).stdout)
    assert "scaled_measured" in runner.invoke(app, ["gpu", "list"]).stdout
    assert "shift_accumulate" in runner.invoke(app, ["estimate", "mobilenet_v1", "--events"]).stdout


def test_a_chip_beyond_a_lithography_field_is_told() -> None:
    said = " ".join(CliRunner().invoke(app, ["estimate", "vgg16"]).stdout.split())
    assert "larger than a lithography field (858 mm²)" in said
    assert "not in the range of energy and time: projection=ptm LP, Table 'composed_cell_count': the route " in said
    assert "not in the range of time: projection=ptm HP, its tables hold no Monte Carlo" in said


def test_an_unknown_network_is_named_even_without_tables() -> None:
    done = CliRunner().invoke(app, ["estimate", "lenet", "--pdk", "nosuch"])
    assert done.stderr == ("himc: network: 'lenet' does not exist; choose mobilenet_v1, mobilenet_v2, resnet18, "
                           "resnet50, vgg16, vit_tiny, gpt2, or file.py:function\n")


@pytest.mark.parametrize(
    "arguments",
    [["estimate", "nosuch"], ["estimate", "mobilenet_v1", "--batch", "0"],
     ["estimate", "mobilenet_v1", "--vdd-v", "-1"], ["estimate", "mobilenet_v1", "--batch", "many"],
     ["estimate", "mobilenet_v1", "--tables", "/nonexistent"], ["estimate", "mobilenet_v1", "--pdk", "nosuch"],
     ["schema", "nosuch"], ["gpu", "list", "nosuch"], ["nosuch"]],
)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("himc: ")
    assert "Traceback" not in done.output
