"""The record: schema, ranges that hold what they should, drivers, digest, caches."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charlib.errors import BadInput, HimcError
from charlib.table import TableSet
from system.claims import claims
from system.estimate import validate
from system.options import EstimateOptions
from system.report import record as record_module
from system.report import training as training_module
from system.report.claims import PRIOR_DENSITY_KB_PER_MM2
from system.report.files import read_report, to_json, write_files
from system.report.record import SILICON_CLOCK, alternatives, build_record, measured_activity
from system.report.training import short_training
from system.report.view import summary_rows, verdict

CURVE = {"loss": [1.0, 0.5], "accuracy": [0.5]}


def test_record_fits_its_schema(record: dict[str, Any]) -> None:
    validate(record, "report")
    validate(record["estimate"], "estimate")
    del record["claims"]
    with pytest.raises(HimcError, match="claims"):
        validate(record, "report")


def test_training_needs_curves_unless_it_did_not_run(record: dict[str, Any]) -> None:
    record["training"] = {"status": "not run", "reason": "torch is not installed"}
    validate(record, "report")
    record["training"] = {"status": "run", "reason": ""}
    with pytest.raises(HimcError, match="training"):
        validate(record, "report")


def test_claims_stand_beside_ranges_over_every_boundary(record: dict[str, Any]) -> None:
    assert [c["name"] for c in record["claims"]] == [c.name for c in claims()]
    energy, time, density, ratio = record["claims"]
    assert (energy["claimed"], time["claimed"], density["claimed"]) == (0.912, 0.139, 769.2)
    assert [row["boundary"] for row in energy["ours"]] == ["macro_only", "with_buffers", "system"]
    for claim in record["claims"]:
        low, high = claim["ours_range"]
        assert low <= high
        assert claim["includes_claim"] == (low <= claim["claimed"] <= high)
    assert energy["ours"][0]["scopes_equal"] is False
    assert energy["ours"][2]["scopes_equal"] is True
    assert ratio["ours_range"][0] == pytest.approx(density["ours_range"][0] / PRIOR_DENSITY_KB_PER_MM2)
    assert pytest.approx(219.5, abs=0.05) == PRIOR_DENSITY_KB_PER_MM2


def test_what_decides_is_sorted_by_its_reach_and_rooflines_stand_last(record: dict[str, Any]) -> None:
    for claim in record["claims"][:2]:
        reach = [driver["high"] - driver["low"] for driver in claim["drivers"]]
        assert reach[:-2] == sorted(reach[:-2], reverse=True)
        assert "FP32" in claim["drivers"][-2]["name"]
        assert "roofline" in claim["drivers"][-1]["name"]
        assert all("in no headline" in driver["name"] for driver in claim["drivers"][-2:])
        assert "roofline" not in claim["decided_by"]
        assert "FP32" not in claim["decided_by"]
        assert claim["drivers"][0]["name"] in claim["decided_by"]


def test_ours_as_asked_is_held_against_the_median_of_like_precision(record: dict[str, Any]) -> None:
    estimate = record["estimate"]
    for claim, key in zip(record["claims"], ("energy_j_per_image", "time_s_per_image"), strict=False):
        fit = [row[key] for row in estimate["gpu"] if row["headline"]]
        for ours in claim["ours"]:
            expected = 1 - estimate["imc"][ours["boundary"]][key] / statistics.median(fit)
            assert ours["nominal"] == pytest.approx(expected, rel=1e-12)
            assert ours["over_rows"][0] <= ours["nominal"] <= ours["over_rows"][1]
    assert {row["precision"] for row in estimate["gpu"] if row["headline"]} <= {"amp", "fp16", "bf16"}


def test_fp32_is_shown_apart_at_the_power_of_busy_cards(record: dict[str, Any]) -> None:
    estimate = record["estimate"]
    ours = estimate["imc"]["system"]["energy_j_per_image"]
    theirs = [row["energy_j_per_image"] for row in estimate["gpu"] if row["precision"] == "fp32"
              and row["time_source"] == "scaled_measured" and row["power_w"] > 0.8 * 170]
    assert record["claims"][0]["apart"] == pytest.approx([1 - ours / min(theirs), 1 - ours / max(theirs)], rel=1e-12)
    named = {row[0]: row[3] for row in summary_rows(record)}
    assert named["energy saved, GPU in FP32"] == named["time saved, GPU in FP32"] == "stands apart"


@pytest.mark.parametrize(("value", "lies"), [(0.912, "inside"), (0.999, "outside")])
def test_the_verdict_says_where_the_claim_lies_and_what_the_median_is(record: dict[str, Any], value: float, lies: str
                                                                      ) -> None:
    claim = record["claims"][0]
    claim["claimed"] = value
    low, high = claim["ours"][-1]["range"]
    claim["ours"][-1]["includes_claim"] = low <= value <= high
    said = verdict(record)
    assert f"lies {lies} our range" in said[0]
    assert said[-2].startswith("The GPU's median energy, ")
    assert re.search(r"lies between the rows scaled measured of an RTX \S+, AMP, .* and scaled measured of an RTX "
                     r".*; 24 rows of 3 measured runs on 2 cards \(RTX 3090: .*, 2 runs; RTX 2080 Ti: .*, 1 run\)\.$",
                     said[-2])


def test_digest_sums_to_the_estimate(record: dict[str, Any]) -> None:
    for boundary, rows in record["summary"]["blocks"].items():
        total = record["estimate"]["imc"][boundary]["energy_j_per_image"]
        assert math.fsum(row["energy_j"] for row in rows) == pytest.approx(total, rel=1e-9)
        assert math.fsum(row["share"] for row in rows) == pytest.approx(1.0, rel=1e-9)
    area = record["summary"]["area"]
    assert math.fsum(row["area_mm2"] for row in area) == pytest.approx(record["estimate"]["macro"]["area_mm2"])


def test_alternatives_change_what_they_name(record: dict[str, Any]) -> None:
    by_name = {other["name"]: other for other in record["alternatives"]}
    resident = by_name["one resident copy of the weights"]
    asked = record["estimate"]["imc"]["macro_only"]["time_s_per_image"]
    assert resident["imc"]["macro_only"]["time_s_per_image"] > asked
    assert not by_name["MobileNetV2"]["same_task"]


def test_the_clock_of_silicon_stands_beside_unless_ours_is_slower(
        record: dict[str, Any], synthetic: TableSet, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = next(other for other in record["alternatives"] if other["name"] == SILICON_CLOCK)["imc"]["macro_only"]
    asked, clock_hz = record["estimate"]["imc"]["macro_only"], record["estimate"]["macro"]["clock_hz"]
    assert slow["time_s_per_image"] / asked["time_s_per_image"] == pytest.approx(3e-9 * clock_hz, rel=1e-6)
    monkeypatch.setattr(record_module, "ALTERNATIVES", record_module.ALTERNATIVES[:1])
    options = EstimateOptions(image_px=32, width=0.25)
    assert [other["name"] for other in alternatives(options, synthetic, {}, 1e9)] == [SILICON_CLOCK]
    assert alternatives(options, synthetic, {}, 3e8) == []


def test_measured_activity_becomes_a_design(synthetic: TableSet, accounts: tuple[dict[str, Any], dict[str, Any]],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"forward": {"serial_bit_density": 0.4, "stored_bit_density": 0.45, "serial_toggle_rate": 0.3}}
    assert measured_activity({"activity": seen}) == {"input_density": 0.4, "weight_density": 0.45, "toggle": 0.3,
                                                     "statistics_beyond": "end"}
    assert measured_activity({}) == {}
    campaign, training = accounts
    monkeypatch.setattr(record_module, "ALTERNATIVES", ())
    made = build_record(EstimateOptions(), synthetic, synthetic, None, campaign, {**training, "activity": seen})
    assert made["alternatives"][-1]["options"]["toggle"] == 0.3
    assert made["alternatives"][-1]["name"] == "bits as dense as in the digits run"
    toggles = synthetic["shift_accumulator_energy_j"]
    short = TableSet([replace(toggles, axes=(*toggles.axes[:-1], replace(toggles.axes[-1], points=(0.4, 0.5, 1.0))))
                      if table is toggles else table for table in synthetic.values()])
    (other,) = alternatives(EstimateOptions(image_px=32, width=0.25), short, {"activity": seen}, 1e9)
    assert other["name"].endswith(" run (toggle 0.3: the tables end at 0.4, where it is priced)")


def test_training_is_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def train() -> dict[str, Any]:
        calls.append(1)
        return {"fp32": CURVE, "imc": CURVE}

    monkeypatch.setattr(training_module, "cannot_train", lambda: None)
    monkeypatch.setattr(training_module, "training_key", lambda: "first")
    assert short_training(tmp_path, train)["status"] == "run"
    assert short_training(tmp_path, train)["status"] == "cached"
    monkeypatch.setattr(training_module, "training_key", lambda: "second")
    assert short_training(tmp_path, train)["status"] == "run"
    assert len(calls) == 2
    (tmp_path / "training-second.json").write_text("{", encoding="utf-8")
    assert short_training(tmp_path, train)["status"] == "run"


def test_training_without_curves_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "cannot_train", lambda: None)
    monkeypatch.setattr(training_module, "training_key", lambda: "key")
    with pytest.raises(HimcError, match=r"^training: the imc run gave no loss or no accuracy"):
        short_training(tmp_path, lambda: {"fp32": CURVE, "imc": {"loss": [], "accuracy": []}})
    assert list(tmp_path.iterdir()) == []


def test_training_is_left_out_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_module, "cannot_train", lambda: "torch is not installed")
    assert short_training(tmp_path) == {"status": "not run", "reason": "torch is not installed"}


def test_files_are_written_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("old", encoding="utf-8")
    (tmp_path / "figures").write_text("a file where a folder must go", encoding="utf-8")
    with pytest.raises(HimcError, match=r"^out: "):
        write_files(tmp_path, {"report.md": "new", "figures/a.svg": "<svg/>"})
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figures", "report.md"]


@pytest.mark.parametrize(("content", "said"), [
    (None, "does not exist; run 'himc run"), ("{", "cannot be read as JSON"), ("[]", "holds no estimate"),
])
def test_reading_a_report_says_what_is_wrong(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=said):
        read_report(tmp_path / "report.json")


def test_json_refuses_what_is_not_a_number() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"x": float("nan")})
