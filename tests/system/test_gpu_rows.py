"""GPU rows: cards and their peaks, the CSV format and its refusals, scaling, rows of one's own card, the list."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from charlib.errors import BadInput
from system.cli import app as himc
from system.cli_gpu import register
from system.estimate import estimate
from system.gpu import GpuRow, gpu_names, gpu_rows, gpu_traffic_bytes, layer_roofline_s, load_rows
from system.gpu_measure import to_csv
from system.gpu_median import KEYS, between, evidence, median_of, median_record
from system.gpu_records import CARDS, COLUMNS, Card, Measurement, card_slug, measurements
from system.networks import build_network
from system.options import EstimateOptions

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
    ({"batch": "0"}, "line 2: batch: '0' is not allowed; give a whole number of at least 1"),
    ({"images_per_s": "inf"}, "line 2: images_per_s: 'inf' is not allowed; give a number above 0"),
    ({"images_per_s": ""}, "line 2: images_per_s: '' is not allowed; give a number above 0"),
    ({"utilisation": "97"}, "line 2: utilisation: '97' is not allowed; give a number from 0 to 1"),
    ({"precision": "int8"}, "line 2: precision: 'int8' is not allowed; give fp32, tf32, amp, fp16, bf16"),
    ({"use": "maybe"}, "line 2: use: 'maybe' is not allowed; give time, power_fraction, measured, none"),
    ({"power_w": ""}, "line 2: power_w: empty; a row whose use is 'measured' needs a number above 0"),
    ({"source": " "}, "line 2: source: ' ' is not allowed; give a name with a letter or digit"),
    ({"source": "a,b"}, f"line 2: {len(COLUMNS)} values are needed, one a column; quote a value that holds a comma"),
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
    rows = gpu_rows("rtx4070", NETWORK, 32, [OWN, replace(OWN, precision="amp", images_per_s=4000.0)])
    assert len({row.source for row in rows}) == 2
    assert [row.energy_j_per_image for row in rows if row.headline] == pytest.approx([0.02, 0.04])


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_wider_arithmetic_stands_apart(precision: str) -> None:
    """Like precision against like: an own row of FP32 is shown, and in no headline."""
    row, = gpu_rows("rtx4070", NETWORK, 32, [replace(OWN, precision=precision)])
    assert (row.headline, row.why_not) == (False, f"{precision.upper()} stands apart")


def test_a_shipped_card_s_headline_is_16_bit_runs_at_the_power_of_busy_cards() -> None:
    rows = gpu_rows("rtx3060", build_network("mobilenet_v1"), 64)
    fit = [row for row in rows if row.headline]
    assert {row.precision for row in fit} == {"amp", "fp16"}
    # TDP, and the shares that zeus's cards drew: 244 of 300 W, 220 of 250 W, 231 of 260 W
    assert sorted({round(row.power_w / 170, 3) for row in fit}) == [0.814, 0.881, 0.889, 1.0]
    aside = {row.why_not for row in rows if "RTX 3090" in row.sources[1] and row.precision == "amp"}
    assert aside == {"power of a run at 23% utilisation"}
    assert all(not row.headline for row in rows if row.precision == "fp32")


def document_rows(rows: tuple[GpuRow, ...]) -> list[dict[str, Any]]:
    return [vars(row) | {"energy_j_per_image": row.energy_j_per_image} for row in rows]


def test_a_median_of_an_even_number_lies_midway_between_two_rows() -> None:
    rows = document_rows(gpu_rows("rtx3060", build_network("mobilenet_v1"), 64))
    for key, (places, _) in KEYS.items():
        fit = sorted(row[key] for row in rows if row["headline"])
        assert len(fit) == 24
        found = median_record(rows)
        assert found[key] == pytest.approx((fit[11] + fit[12]) / 2, rel=1e-12)
        assert sorted(rows[k][key] for k in found[places]) == fit[11:13]
        assert between(rows, found[places])[key] == pytest.approx(found[key], rel=1e-12)
        assert min(fit[11:13]) < found[key] < max(fit[11:13])  # the upper one alone flatters
        odd = [row for row in rows if row["headline"]][:5]
        assert median_of(odd, key).value == sorted(row[key] for row in odd)[2]
        assert len(median_of(odd, key).rows) == 1


def test_rows_scaled_many_ways_are_counted_by_the_runs_behind_them() -> None:
    found = median_record(document_rows(gpu_rows("rtx3060", build_network("mobilenet_v1"), 64)))
    assert evidence(found) == "24 rows of 3 measured runs on 2 cards"
    assert {card["card"]: (card["rows"], len(card["runs"])) for card in found["cards"]} == {
        "RTX 3090": (16, 2), "RTX 2080 Ti": (8, 1)}
    assert evidence({"rows": 1, "runs": 1, "cards": [{}]}) == "1 row of 1 measured run on 1 card"


def test_one_run_scaled_many_ways_makes_no_headline(monkeypatch: pytest.MonkeyPatch) -> None:
    one = tuple(row for row in measurements() if row.use != "time" or row.images_per_s == 1832)
    monkeypatch.setattr("system.gpu.measurements", lambda: one)
    with pytest.raises(BadInput, match=r"^gpu: a headline of scaled rows needs at least two measured runs; "):
        estimate(EstimateOptions())


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
    with pytest.raises(BadInput, match=r"line 2: board_power_w: empty, and 'NVIDIA GeForce RTX 9999' is no shipped"):
        load_rows(path)


@pytest.mark.parametrize(("changes", "said"), [
    ({"idle_w": 170.0}, "idle_w: 170 W is not below the run's power_w, 160 W"),
    ({"power_w": 300.0}, "power_w: 300 W is above the board's rating, 200 W"),
    ({"idle_w": -3.0}, "idle_w: -3 W is not below"),
    ({"bytes_per_s": 272.0}, r"line 2: bytes_per_s: 272 is not plausible; give 1e\+09 to 1e\+14, in bytes a second; "
                             r"272 GB/s is 2\.72e11$"),
    ({"board_power_w": 0.2}, r"line 2: board_power_w: 0\.2 is not plausible; give 1 to 5000, in watts$"),
    ({"power_limit_w": 2e5}, r"line 2: power_limit_w: 200000 is not plausible; give 1 to 5000, in watts$"),
    ({"power_w": 0.15, "idle_w": None}, r"line 2: power_w: 0\.15 W is too little for a busy board rated at 200 W; "
                                        r"give at least 4, the mean of the run in watts$"),
    ({"input_px": 224, "images_per_s": 0.00209},
     r"line 2: images_per_s: 0\.00209 of NVIDIA GeForce RTX 4070, bf16, is less than any card's, 0\.23 for "
     r"mobilenet_v1; give images a second, not seconds an image$"),
    ({"input_px": 224, "images_per_s": 478000.0},
     r"line 2: images_per_s: 478000 of NVIDIA GeForce RTX 4070, bf16, is more than any card's arithmetic allows, "
     r"4\.375e\+05; give images a second of training$"),
    ({"input_px": 5000}, r"line 2: image_px: 8 to 4096 is allowed, got 5000$"),
    ({"network": "mobilenetv1"}, r"line 2: network: 'mobilenetv1' does not exist; did you mean mobilenet_v1\? One's "
                                 r"own network has another name, as file\.py:function$"),
])
def test_what_no_card_can_do_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([replace(OWN, **changes)]))
    with pytest.raises(BadInput, match=said):
        load_rows(path)


def test_more_images_than_the_cards_arithmetic_allows_are_refused() -> None:
    own = replace(OWN, gpu="RTX 3060", images_per_s=1e9)
    with pytest.raises(BadInput, match=r"images_per_s: 1e\+09 of RTX 3060, .* is more than its arithmetic allows"):
        gpu_rows("rtx3060", NETWORK, 32, [own])


@pytest.mark.parametrize(("network", "px", "images_per_s", "precision"), [
    ("vgg16", 224, 0.3, "fp32"), ("gpt2", 1024, 0.02, "fp32"), ("mobilenet_v1", 8, 20.0, "fp32"),
    ("gpt2", 1024, 600.0, "bf16")])
def test_slow_cards_and_fast_ones_are_taken(network: str, px: int, images_per_s: float, precision: str, tmp_path: Path
                                            ) -> None:
    """A big network on a slow card, a tiny one that waits for its kernels, half the peak of a newer card."""
    path = tmp_path / "own.csv"
    row = replace(OWN, network=network, input_px=px, batch=1, images_per_s=images_per_s, precision=precision)
    path.write_text(to_csv([row]))
    assert load_rows(path) == (row,)


def test_a_network_of_one_s_own_is_held_to_its_arithmetic_when_asked_for() -> None:
    mine = replace(NETWORK, name="net.py:build")
    with pytest.raises(BadInput, match=r"^gpu_rows: images_per_s: 1e\+09 of NVIDIA .*, is more than any card's"):
        gpu_rows("rtx4070", mine, 32, [replace(OWN, network="net.py:build", images_per_s=1e9)])


@pytest.mark.parametrize(("second", "said"), [
    (OWN, r"line 4: NVIDIA GeForce RTX 4070, bf16 mobilenet_v1 at 64 px, batch 32, stands on line 3 too; one row a "
          r"setting is allowed; remove one$"),
    (replace(OWN, gpu="RTX 4070", batch=64, board_power_w=220.0),
     r"line 4: board_power_w: 220 of RTX 4070, but 200 on line 3; one value a card is allowed; mend one, or give two "
     r"cards two names$"),
    (replace(OWN, batch=64, bytes_per_s=500e9), r"line 4: bytes_per_s: 5e\+11 of NV.*, but 5\.04e\+11 on line 3; ")])
def test_rows_that_contradict_one_another_are_refused(second: Measurement, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([OWN, second], ["a note"]))
    with pytest.raises(BadInput, match=said):
        load_rows(path)


def test_rows_at_two_power_limits_are_two_settings(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([replace(OWN, power_limit_w=limit) for limit in (180.0, 200.0)]))
    assert len(load_rows(path)) == 2


@pytest.mark.parametrize(("content", "said"), [
    (to_csv([OWN]).replace(",", ";").encode(), r"own\.csv, line 1: the header has semicolons and no comma; columns "
     r"are parted by commas and numbers have a point; save the file as CSV with commas$"),
    (b"\n", r"own\.csv is empty; its first line names the columns, needed are gpu, network, "),
    (b"# mine\n", r"own\.csv holds comments alone; its first line names the columns, needed are gpu, "),
    (to_csv([replace(OWN, source="gem\u00e4\u00df")]).encode("latin-1"), r"own\.csv is no UTF-8 text; save it as "),
    (to_csv([OWN]).encode("utf-16"), r"own\.csv is no UTF-8 text; save it as UTF-8 "),
    (to_csv([OWN]).encode("utf-16-le"), r"own\.csv is no UTF-8 text; save it as UTF-8 \(in a spreadsheet: "
     r"CSV UTF-8, commas\)$"),
    (b"# a\n\n" + to_csv([OWN]).replace("0.97", "97").encode(), r"own\.csv, line 4: utilisation: '97' is not ")])
def test_a_spreadsheet_s_file_says_what_is_wrong(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        load_rows(path)


def test_words_may_be_capitals_and_whole_numbers_may_have_a_point(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([replace(OWN, layout="channels_last")]).replace("bf16,64,32", "BF16,64.0,32.0").replace(
        "measured", "Measured").replace("channels_last", "Channels_Last"))
    assert load_rows(path) == (replace(OWN, layout="channels_last"),)


def test_a_card_may_be_asked_for_as_it_is_written() -> None:
    assert gpu_rows("GeForce RTX 3060", NETWORK, 32) == gpu_rows("rtx3060", NETWORK, 32)
    assert gpu_rows("RTX 4070", NETWORK, 32, [OWN]) == gpu_rows("rtx4070", NETWORK, 32, [OWN])


@pytest.mark.parametrize(("source", "caveat"), [
    ("himc gpu measure 2026-01-02; NVML", "synthetic images on the card: no input pipeline, no host"),
    ("lab book", "")])
def test_synthetic_images_are_said_of_measured_rows_alone(source: str, caveat: str) -> None:
    (row,) = gpu_rows("rtx4070", NETWORK, 32, [replace(OWN, source=source)])
    assert row.caveat == caveat


@pytest.mark.parametrize("use", ["measured", "time"])
def test_a_run_at_the_batch_asked_for_goes_before_others_when_carried(use: str) -> None:
    own = [replace(OWN, batch=batch, images_per_s=speed, use=use)
           for batch, speed in ((32, 8000.0), (128, 9000.0), (256, 9500.0))]
    rows = [r for r in gpu_rows("rtx3060", NETWORK, 32, own)
            if "4070" in r.sources[0] and "input-bound" not in r.caveat]
    assert {(r.batch, r.source_batch, r.headline, r.why_not) for r in rows} == {
        (32, 32, True, ""), (32, 128, False, "batch 128, asked for 32"), (32, 256, False, "batch 256, asked for 32")}
    alone = [r for r in gpu_rows("rtx3060", NETWORK, 64, own) if "4070" in r.sources[0]]
    assert {r.source_batch for r in alone if r.headline} == ({256} if use == "measured" else {32, 128, 256})


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


def test_list_shows_the_batch_carried_from_and_the_networks_left_out(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(to_csv([OWN, replace(OWN, network="mobilnet_v1"), replace(OWN, network="net.py:build")]))
    words = ["--image-px", "64", "--batch", "64", "--gpu-rows", str(path), "--gpu", "RTX 3060"]
    shown = CliRunner().invoke(app, ["gpu", "list", *words])
    assert shown.exit_code == 0, shown.output
    unused = "are not used here: it is no shipped network;"
    for text in ("rtx3060, training", "64 (from 32)", "64 (from 512)",
                 f"Note: rows of 'mobilnet_v1' {unused} did you mean mobilenet_v1?\n",
                 f"Note: rows of 'net.py:build' {unused} they serve for that network alone\n"):
        assert text in shown.stdout, text


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
