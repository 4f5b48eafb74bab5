"""GPU rows: cards and their peaks, the CSV format and its refusals, scaling, rows of one's own card, the list."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from charlib.errors import BadInput
from system.cli import app as himc
from system.cli_gpu import register
from system.gpu import gpu_names, gpu_rows, gpu_traffic_bytes, layer_roofline_s
from system.gpu_measure import to_csv
from system.gpu_records import CARDS, COLUMNS, Card, Measurement, card_slug, load_rows, measurements
from system.networks import build_network

NETWORK = build_network("mobilenet_v1", 64)
OWN = Measurement("NVIDIA GeForce RTX 4070", "mobilenet_v1", "bf16", 64, 32, 8000.0, 160.0, 200.0, 0.97, 504e9,
                  "measured", "test", idle_w=20.0, window_s=10.0, energy_error=0.01)
app = typer.Typer()
register(app)


def test_the_rtx_3060_has_the_peaks_that_nvidia_publishes() -> None:
    card = CARDS["rtx3060"]
    assert (card.tdp_w, card.bytes_per_s, card.tensor_flops) == (170, 360e9, 25.5e12)
    assert card.fp32_flops == pytest.approx(12.74e12, rel=1e-3)


@pytest.mark.parametrize(("gpu", "teraflops"), [("v100", 15.7), ("h200", 66.9), ("rtx3090", 35.6), ("a100", 19.5),
                                                ("rtx2080ti", 13.4), ("t4", 8.1), ("rtx4090", 82.6)])
def test_fp32_peaks_are_those_that_nvidia_publishes(gpu: str, teraflops: float) -> None:
    assert CARDS[gpu].fp32_flops == pytest.approx(teraflops * 1e12, abs=0.051e12)


def test_every_shipped_row_names_a_card_with_the_same_bandwidth() -> None:
    for row in measurements():
        assert CARDS[card_slug(row.gpu)].bytes_per_s == row.bytes_per_s, row


@pytest.mark.parametrize(("title", "slug"), [
    ("NVIDIA GeForce RTX 3060", "rtx3060"), ("Tesla V100-SXM2-16GB", "v100"), ("NVIDIA H200", "h200"),
    ("RTX 2080 Ti", "rtx2080ti"), ("NVIDIA A100-SXM4-80GB", "a100")])
def test_a_driver_s_title_becomes_an_option(title: str, slug: str) -> None:
    assert card_slug(title) == slug


def test_precisions_take_the_units_they_run_on() -> None:
    card = Card("x", "X", 1000, 1e9, 64e12, 1e12, 100, "test")
    assert [card.flops(p) for p in ("fp32", "tf32", "amp", "bf16")] == [2e12, 32e12, 64e12, 64e12]


def test_rows_come_back_from_the_file_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([OWN, replace(OWN, utilisation=None, layout="channels_last")], ["a note"]))
    found = load_rows(path)
    assert found == (OWN, replace(OWN, utilisation=None, layout="channels_last"))
    assert found[0].energy_j_per_image == pytest.approx(0.02)
    assert found[0].active_j_per_image == pytest.approx(0.0175)


@pytest.mark.parametrize(("changes", "message"), [
    ({"batch": "0"}, "row 1: batch: '0' is not allowed; give a whole number of at least 1"),
    ({"images_per_s": "inf"}, "row 1: images_per_s: 'inf' is not allowed; give a number above 0"),
    ({"images_per_s": ""}, "row 1: images_per_s: '' is not allowed; give a number above 0"),
    ({"utilisation": "97"}, "row 1: utilisation: '97' is not allowed; give a number from 0 to 1"),
    ({"precision": "int8"}, "row 1: precision: 'int8' is not allowed; give fp32, tf32, amp, fp16, bf16"),
    ({"use": "maybe"}, "row 1: use: 'maybe' is not allowed; give time, power_fraction, measured, none"),
    ({"power_w": ""}, "row 1: power_w: empty; a row whose use is 'measured' needs a number above 0"),
    ({"source": " "}, "row 1: source: ' ' is not allowed; give a name with a letter or digit"),
    ({"source": "a,b"}, f"row 1: {len(COLUMNS)} values are needed, one a column; quote a value that holds a comma"),
])
def test_a_file_of_one_s_own_is_checked(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    head, row = to_csv([OWN]).splitlines()
    values = dict(zip(head.split(","), row.split(","), strict=True)) | changes
    path = tmp_path / "own.csv"
    path.write_text(f"{head}\n{','.join(values.values())}\n")
    with pytest.raises(BadInput) as raised:
        load_rows(path)
    assert str(raised.value) == f"gpu_rows: {path}, {message}"


def test_a_file_needs_its_columns_and_a_row(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    for text, message in ((f"{','.join(COLUMNS)}\n", r"holds no row; give a CSV file that 'himc gpu measure' wrote$"),
                          ("gpu,network\nx,y\n", r": column 'precision' is missing; needed are gpu, network, "),
                          (f"{','.join(COLUMNS)},colour\n", r": column 'colour' is not known; allowed are gpu, ")):
        path.write_text(text)
        with pytest.raises(BadInput, match=message):
            load_rows(path)
    with pytest.raises(BadInput, match=r"^gpu_rows: .*none\.csv cannot be read .*; give a CSV file that "):
        load_rows(tmp_path / "none.csv")


def test_layers_bound_no_less_than_the_whole_and_no_more_than_the_sum() -> None:
    for gpu, precision in (("rtx3060", "fp32"), ("h200", "bf16")):
        card = CARDS[gpu]
        arithmetic = 2 * NETWORK.macs_training / card.flops(precision)
        traffic = gpu_traffic_bytes(NETWORK, 32, precision) / card.bytes_per_s
        found = layer_roofline_s(card, NETWORK, 32, precision)
        assert (1 - 1e-9) * max(arithmetic, traffic) <= found <= arithmetic + traffic


def test_fp32_moves_more_than_bf16_and_less_than_twice() -> None:
    narrow, wide = (gpu_traffic_bytes(NETWORK, 32, p) for p in ("bf16", "fp32"))
    assert narrow < wide < 2 * narrow


def test_own_rows_join_power_and_time_of_one_run() -> None:
    assert "rtx4070" in gpu_names([OWN])
    row, = gpu_rows("rtx4070", NETWORK, 32, [OWN])
    assert (row.power_source, row.time_source, row.composed, row.headline) == ("measured", "measured", False, True)
    assert row.energy_j_per_image == pytest.approx(0.02)
    assert row.active_j_per_image == pytest.approx(0.0175)
    assert gpu_rows("rtx4070", build_network("mobilenet_v1", 96), 32, [OWN]) == ()


@pytest.mark.parametrize(("own", "why"), [(replace(OWN, utilisation=0.5), "utilisation 50%, under 80%"),
                                          (replace(OWN, batch=8), "batch 8, asked for 32")])
def test_own_rows_that_do_not_fit_stand_in_no_headline(own: Measurement, why: str) -> None:
    row, = gpu_rows("rtx4070", NETWORK, 32, [own])
    assert (row.headline, row.why_not) == (False, why)


def test_a_saturated_own_row_is_carried_to_other_cards_with_its_own_power() -> None:
    """The same network: time goes by bandwidth, power by the share of the board's limit."""
    slow = replace(OWN, images_per_s=10.0, power_w=110.0)
    before = gpu_rows("rtx3060", NETWORK, 32)
    added = [r for r in gpu_rows("rtx3060", NETWORK, 32, [OWN, slow, replace(OWN, utilisation=0.1, precision="fp32")])
             if r not in before]
    assert [r.power_w for r in added] == [170.0, pytest.approx(170 * 160 / 200)]
    assert all(r.time_s_per_image == pytest.approx(504 / 360 / 8000) for r in added)
    assert all(r.headline and r.composed for r in added)


def test_own_rows_of_two_settings_are_two_sources_and_so_a_headline() -> None:
    rows = gpu_rows("rtx4070", NETWORK, 32, [OWN, replace(OWN, precision="fp32", images_per_s=4000.0)])
    assert len({row.source for row in rows}) == 2
    assert [row.energy_j_per_image for row in rows if row.headline] == pytest.approx([0.02, 0.04])


def test_a_run_on_the_card_itself_takes_the_place_of_scaled_rows() -> None:
    own = replace(OWN, gpu="RTX 3060", board_power_w=170.0, bytes_per_s=3.6e11)
    rows = gpu_rows("rtx3060", NETWORK, 32, [own])
    assert [row.time_source for row in rows if row.headline] == ["measured"]
    scaled = [row for row in rows if row.time_source == "scaled_measured"]
    assert {row.why_not for row in scaled} == {"a run on the card itself is known"}
    elsewhere = gpu_rows("rtx3060", NETWORK, 64, [own])
    assert {row.time_source for row in elsewhere if row.headline} == {"scaled_measured"}


def test_one_own_row_is_a_headline_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([replace(OWN, input_px=224, images_per_s=500.0)]))
    words = ["estimate", "mobilenet_v1", "--batch", "32", "--gpu", "rtx4070", "--gpu-rows", str(path)]
    said = CliRunner().invoke(himc, words, env={"COLUMNS": "200"})
    assert said.exit_code == 0, said.output
    told = " ".join(said.stdout.split())
    assert re.search(r"saving against NVIDIA .* 4070 .*: energy 9\d\.\d%, time \d+\.\d% \(as asked, system\)", told)
    given = CliRunner().invoke(himc, [*words, "--json", "-"])
    document = json.loads(given.stdout)
    (row,) = document["gpu"]
    assert row["headline"]
    (saving,) = (s for s in document["saving"] if s["boundary"] == "system")
    over_rows = document["headline"]["system"]["energy_fraction_over_rows"]
    assert over_rows == pytest.approx(2 * [saving["energy_fraction"]])


def test_a_shipped_card_brings_its_own_rating_and_bandwidth(tmp_path: Path) -> None:
    text = "gpu,network,precision,input_px,batch,images_per_s,power_w,use,source\n" \
           "NVIDIA GeForce RTX 3060,mobilenet_v1,amp,224,64,500,140,measured,a lab book\n"
    path = tmp_path / "own.csv"
    path.write_text("\ufeff" + text)
    (row,) = load_rows(path)
    assert (row.board_power_w, row.bytes_per_s) == (CARDS["rtx3060"].tdp_w, CARDS["rtx3060"].bytes_per_s)
    path.write_text(text.replace("RTX 3060", "RTX 9999"))
    with pytest.raises(BadInput, match=r"row 1: board_power_w: empty, and 'NVIDIA GeForce RTX 9999' is no shipped"):
        load_rows(path)


@pytest.mark.parametrize(("changes", "said"), [
    ({"idle_w": 170.0}, "idle_w: 170 W is not below the run's power_w, 160 W"),
    ({"power_w": 300.0}, "power_w: 300 W is above the board's rating, 200 W"),
    ({"idle_w": -3.0}, "idle_w: -3 W is not below"),
])
def test_what_no_card_can_do_is_refused(tmp_path: Path, changes: dict[str, float], said: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([replace(OWN, **changes)]))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=said):
        load_rows(path)


def test_more_images_than_the_cards_arithmetic_allows_are_refused() -> None:
    own = replace(OWN, gpu="RTX 3060", images_per_s=1e9)
    with pytest.raises(BadInput, match=r"images_per_s: 1e\+09 of RTX 3060, .* is more than its arithmetic allows"):
        gpu_rows("rtx3060", NETWORK, 32, [own])


def test_a_card_with_rows_that_are_no_run_says_what_it_needs() -> None:
    with pytest.raises(BadInput, match="'rtx4070' is no shipped card and none of its rows has the use 'measured'"):
        gpu_rows("rtx4070", NETWORK, 32, [replace(OWN, use="time")])


def test_a_network_without_records_is_not_carried() -> None:
    own = replace(OWN, network="my_net")
    assert gpu_rows("rtx3060", NETWORK, 32, [own]) == gpu_rows("rtx3060", NETWORK, 32)


def test_a_known_card_is_also_scaled_by_its_layers_rooflines() -> None:
    rows = gpu_rows("rtx3060", NETWORK, 32, [replace(OWN, gpu="H200", bytes_per_s=4.8e12, precision="fp32")])
    times = {r.sources[0].split(":")[1].rsplit("× ", 1)[1]: r.time_s_per_image for r in rows if "H200" in r.source}
    bounds = [layer_roofline_s(CARDS[name], NETWORK, 32, "fp32") for name in ("rtx3060", "h200")]
    assert times == {"traffic": pytest.approx(4800 / 360 / 8000),
                     "rooflines of its layers": pytest.approx(bounds[0] / bounds[1] / 8000)}


def test_rooflines_bound_every_other_time() -> None:
    rows = gpu_rows("rtx3060", NETWORK, 32)
    bound = max(r.time_s_per_image for r in rows if "roofline" in r.time_source and r.precision == "bf16")
    assert bound < min(row.time_s_per_image for row in rows if row.headline)
    assert all(r.why_not for r in rows if not r.headline)


def test_list_shows_rows_and_gives_json(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["gpu", "list", "--image-px", "64"])
    assert shown.exit_code == 0
    for word in ("memory_roofline", "scaled_measured", "no: a bound", "AI-Benchmark", "input-bound"):
        assert word in shown.stdout
    path = tmp_path / "own.csv"
    path.write_text(to_csv([OWN]))
    words = ["--image-px", "64", "--gpu", "rtx4070", "--batch", "32", "--gpu-rows", str(path), "--json", "-"]
    given = CliRunner().invoke(app, ["gpu", "list", *words])
    row, = json.loads(given.stdout)["rows"]
    assert row["energy_j_per_image"] == pytest.approx(0.02)
    assert row["time_source"] == "measured"


@pytest.mark.parametrize(("words", "message"), [
    (["--batch", "0"], r"^batch: 1 to 1048576 is allowed, got 0$"),
    (["--gpu", "rtx9"], r"^gpu: 'rtx9' does not exist; choose rtx3060 or "),
    (["--gpu", "rtx4070", "--gpu-rows", "OWN"], r"^gpu: rtx4070 has no row for mobilenet_v1 at 224 px, width 1; ")])
def test_list_refuses(words: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([OWN]))
    with pytest.raises(BadInput, match=message):
        CliRunner().invoke(app, ["gpu", "list", *(str(path) if w == "OWN" else w for w in words)],
                           catch_exceptions=False)
