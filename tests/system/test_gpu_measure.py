"""Measuring a card, with a made-up card and a made-up NVML: windows, idle power, arithmetic, holes, refusals."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from charlib.errors import BadInput, HimcError
from system.cli_gpu import _notes, register, settings_of
from system.gpu import load_rows
from system.gpu_measure import (
    Hole,
    Idle,
    Setting,
    Timing,
    Window,
    measure,
    measure_idle,
    measure_window,
    row_of,
    to_csv,
    to_document,
)
from system.gpu_nvml import NvmlSensor, Reading, nvml_module

IDLE_W, BUSY_W, STEP_S, COUNTER_S = 50.0, 200.0, 0.02, 0.1
SETTING = Setting(batch=32)
IDLE = Idle(IDLE_W, COUNTER_S)


@dataclass
class Card:
    """A card in made-up time: 50 W idle, 200 W at work, 20 ms a step, a counter that moves every 0.1 s."""

    title: str = "NVIDIA Made-up 1"
    driver: str = "1.0"
    board_power_w: float = 250.0
    power_limit_w: float = 220.0
    bytes_per_s: float = 1e12
    now: float = 0.0
    used: float = 0.0
    shown: tuple[float, float] = (0.0, 0.0)  #: the counter, and when it moved
    enqueued: int = 0
    last_loss: float = 1.0
    look: list[Reading] = field(default_factory=lambda: [Reading(0.95, 1.5e9, 60.0)])

    def clock(self) -> float:
        return self.now

    def pass_time(self, seconds: float, watts: float = IDLE_W) -> None:
        self.now += seconds
        self.used += seconds * watts
        if self.now - self.shown[1] >= COUNTER_S - 1e-9:
            self.shown = (self.used, self.now)

    def energy_j(self) -> float:
        return self.shown[0]

    def reading(self) -> Reading:
        return self.look[-1]

    def step(self) -> None:
        self.enqueued += 1

    def synchronise(self) -> None:
        for _ in range(self.enqueued):
            self.pass_time(STEP_S, BUSY_W)
        self.enqueued = 0

    def loss(self) -> float:
        return self.last_loss


def window(card: Card, seconds: float = 10.0) -> Window:
    return measure_window(card, card, Timing(seconds), card.clock)


def test_idle_power_is_taken_between_movements_of_the_counter() -> None:
    card = Card()
    found = measure_idle(card, Timing(), card.clock, card.pass_time)
    assert found.power_w == pytest.approx(IDLE_W)
    assert found.counter_step_s == pytest.approx(COUNTER_S, abs=0.006)


def test_a_window_is_as_long_as_asked_and_holds_only_work() -> None:
    found = window(Card())
    assert found.steps == math.ceil(10.0 / STEP_S)
    assert found.seconds == pytest.approx(found.steps * STEP_S)
    assert found.energy_j == pytest.approx(found.seconds * BUSY_W, rel=COUNTER_S / found.seconds)
    assert found.readings


def test_the_row_is_the_window_s_arithmetic() -> None:
    readings = (Reading(0.9, 1e9, 50.0), Reading(1.0, 2e9, None))
    row = row_of(SETTING, Window(100, 4.0, 600.0, readings), IDLE, Card(), "test")
    assert (row.images_per_s, row.power_w, row.idle_w, row.use) == (800.0, 150.0, 50.0, "measured")
    assert row.energy_j_per_image == pytest.approx(600 / 3200)
    assert row.active_j_per_image == pytest.approx((600 - 4 * 50) / 3200)
    assert row.utilisation == pytest.approx(0.95)
    assert (row.sm_clock_hz, row.temp_c) == (1.5e9, 50.0)
    assert row.energy_error == pytest.approx(0.025)
    assert (row.board_power_w, row.power_limit_w, row.layout) == (250.0, 220.0, "channels_last")


def test_what_a_driver_does_not_tell_stays_open() -> None:
    row = row_of(SETTING, Window(1, 1.0, 100.0, (Reading(None, None, None),)), IDLE, Card(), "test")
    assert (row.utilisation, row.sm_clock_hz, row.temp_c) == (None, None, None)


@pytest.mark.parametrize("energy_j", [0.0, -5.0, 331.0, math.nan])
def test_a_power_that_cannot_be_is_no_row(energy_j: float) -> None:
    with pytest.raises(HimcError, match=r"^gpu: the energy counter gave .* W under a limit of 220 W; give a longer "):
        row_of(SETTING, Window(1, 1.0, energy_j, (Reading(1, 1, 1),)), IDLE, Card(), "test")


def test_a_counter_that_stands_still_is_an_error() -> None:
    card = Card()
    with pytest.raises(HimcError, match=r"^gpu: the energy counter moved 0 times in 5 s; give a longer --idle, or "):
        measure_idle(replace(card), Timing(), card.clock, card.pass_time)


def test_a_loss_that_is_no_number_is_no_training() -> None:
    with pytest.raises(HimcError, match=r"^gpu: the loss was nan after 500 steps; what was timed is no training$"):
        window(Card(last_loss=math.nan))


def test_a_failing_sensor_ends_the_window() -> None:
    class Broken(Card):
        def reading(self) -> Reading:
            raise HimcError("gpu: gone")

    with pytest.raises(HimcError, match=r"^gpu: gone$"):
        window(Broken())


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_lengths_are_checked(seconds: float) -> None:
    with pytest.raises(BadInput, match=r"^window_s: '.*' is not allowed; give a number of seconds above 0$"):
        Timing(seconds)


def test_a_setting_that_does_not_fit_leaves_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card()
    monkeypatch.setattr("system.gpu_measure.measure_idle", lambda sensor, timing: IDLE)
    monkeypatch.setattr("system.gpu_measure.measure_window", lambda sensor, work, timing: window(card))

    def make(setting: Setting) -> Card:
        if setting.batch > 64:
            raise MemoryError("too big")
        return card

    told: list[object] = []
    settings = [replace(SETTING, batch=batch) for batch in (256, 64)]
    rows, holes = measure(card, settings, make, Timing(), "test", told.append)
    assert [row.batch for row in rows] == [64]
    assert holes == [Hole(settings[0], "too big")]
    assert told == [*holes, *rows]
    document = to_document(rows, holes)
    assert document["rows"][0]["energy_j_per_image"] == pytest.approx(BUSY_W * STEP_S / 64, rel=0.02)
    assert document["holes"][0]["setting"]["batch"] == 256
    assert to_csv(rows, ["note"]).startswith("# note\ngpu,network,precision,")


class NVMLError(Exception):
    """As the package's."""


def fake_nvml(**changes: Any) -> Any:
    """A module like pynvml; an exception among the values is raised."""
    values: dict[str, Any] = {
        "nvmlInit": None, "nvmlDeviceGetCount": 1, "nvmlDeviceGetHandleByUUID": "card",
        "nvmlDeviceGetHandleByIndex": "card",
        "nvmlDeviceGetName": "NVIDIA Made-up 1", "nvmlSystemGetDriverVersion": "580.1",
        "nvmlDeviceGetEnforcedPowerLimit": 220_000, "nvmlDeviceGetPowerManagementDefaultLimit": 250_000,
        "nvmlDeviceGetMaxClockInfo": 7501, "nvmlDeviceGetMemoryBusWidth": 192,
        "nvmlDeviceGetTotalEnergyConsumption": 12_345, "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=93),
        "nvmlDeviceGetClockInfo": 1700, "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetMigMode": NVMLError("Not Supported"), "nvmlDeviceGetComputeRunningProcesses": []} | changes

    def call(value: Any) -> Any:
        def function(*_: Any) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return function

    return SimpleNamespace(NVMLError=NVMLError, NVML_CLOCK_MEM=2, NVML_CLOCK_SM=1, NVML_TEMPERATURE_GPU=0,
                           **{name: call(value) for name, value in values.items()})


def test_nvml_s_units_become_si() -> None:
    sensor = NvmlSensor(fake_nvml())
    assert (sensor.power_limit_w, sensor.board_power_w) == (220.0, 250.0)
    assert sensor.energy_j() == pytest.approx(12.345)
    assert sensor.bytes_per_s == pytest.approx(360e9, rel=1e-3)
    assert sensor.reading() == Reading(0.93, 1.7e9, 61.0)


@pytest.mark.parametrize(("count", "uuid", "expected"), [
    (1, "GPU-1", ("index", 0)), (2, "GPU-1", ("uuid", "GPU-1")), (2, "", ("index", 1))])
def test_the_card_that_cuda_means_is_found(count: int, uuid: str, expected: tuple[str, object]) -> None:
    asked: list[tuple[str, object]] = []
    nvml = fake_nvml(nvmlDeviceGetCount=count)
    nvml.nvmlDeviceGetHandleByUUID = lambda value: asked.append(("uuid", value))
    nvml.nvmlDeviceGetHandleByIndex = lambda value: asked.append(("index", value))
    NvmlSensor(nvml, uuid, 1)
    assert asked == [expected]


def test_a_shipped_card_keeps_its_published_peaks() -> None:
    sensor = NvmlSensor(fake_nvml(nvmlDeviceGetName="NVIDIA H200"), "GPU-1")
    assert (sensor.bytes_per_s, sensor.board_power_w) == (4.8e12, 700.0)


def test_what_the_driver_refuses() -> None:
    silent = NvmlSensor(fake_nvml(nvmlDeviceGetUtilizationRates=NVMLError("Not Supported")))
    assert silent.reading() == Reading(None, 1.7e9, 61.0)
    with pytest.raises(HimcError, match=r"^gpu: the driver refuses nvmlDeviceGetTotalEnergyConsumption \(Not Supp"):
        NvmlSensor(fake_nvml(nvmlDeviceGetTotalEnergyConsumption=NVMLError("Not Supported")))


@pytest.mark.parametrize(("uuid", "mode"), [
    ("MIG-41b35c8d-0000-1111-2222-333344445555", [1, 1]), ("MIG-41b35c8d", NVMLError("no")), ("GPU-1", [1, 1]),
    ("", [1, 0])])
@pytest.mark.parametrize("count", [1, 2])
def test_a_slice_of_a_card_is_refused(uuid: str, mode: object, count: int) -> None:
    with pytest.raises(HimcError, match=r"^gpu: \S.* is cut into slices \(MIG\), and the energy counter is the whole "
                                        r"board's; measure on a card with MIG off, or use the rows of a shipped "
                                        r"card$"):
        NvmlSensor(fake_nvml(nvmlDeviceGetMigMode=mode, nvmlDeviceGetCount=count), uuid)
    assert NvmlSensor(fake_nvml(nvmlDeviceGetMigMode=[0, 1], nvmlDeviceGetCount=count), "GPU-1").energy_j() > 0


def test_other_processes_on_the_card_are_counted() -> None:
    processes = [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=1), SimpleNamespace(pid=2)]
    sensor = NvmlSensor(fake_nvml(nvmlDeviceGetComputeRunningProcesses=processes))
    assert sensor.others() == 2
    assert _notes(sensor)[0] == "2 other processes were on the card, whose energy is in power_w."
    assert len(_notes(NvmlSensor(fake_nvml()))) == 2


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(HimcError, match=r"^nvidia-ml-py is not installed, .*; run 'pip install nvidia-ml-py'$"):
        nvml_module()


def test_settings_are_every_combination() -> None:
    found = settings_of("mobilenet_v1", 224, 1.0, "64, 256", "fp32,bf16", "both")
    assert len(found) == len(set(found)) == 8
    assert {(s.precision, s.channels_last, s.batch) for s in found} == set(
        itertools.product(("fp32", "bf16"), (True, False), (64, 256)))


@pytest.mark.parametrize(("batches", "precisions", "layout", "message"), [
    ("6,x", "fp32", "both", r"^batches: '6,x' is not allowed; give whole numbers of at least 1, separated by "),
    ("0", "fp32", "both", r"^batches: '0' is not allowed; "), ("", "fp32", "both", r"^batches: '' is not allowed; "),
    ("64", "fp32,int8", "both", r"^precisions: 'int8' is not allowed; choose of fp32, tf32, amp, bf16$"),
    ("64", "fp32", "nhwc", r"^layout: 'nhwc' is not allowed; choose channels_last, contiguous or both$"),
    ("64", "fp32", "", r"^layout: '' is not allowed; ")])
def test_settings_that_are_refused(batches: str, precisions: str, layout: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        settings_of("mobilenet_v1", 224, 1.0, batches, precisions, layout)


@pytest.mark.train
def test_without_a_card_the_command_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["gpu", "measure"])
    assert isinstance(result.exception, HimcError)
    assert result.exception.exit_code == 1
    assert str(result.exception).startswith("gpu: no NVIDIA card that torch can use is here; ")


@pytest.mark.train
def test_the_command_writes_rows_that_the_list_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole command on a made-up card that draws more each second, its steps taken on the processor."""
    pytest.importorskip("torch")
    from system.train import synthetic

    steady = fake_nvml()
    begin = perf_counter()

    def millijoules(_: object) -> int:
        passed = perf_counter() - begin
        return int(200_000 * (passed + 0.01 * passed**2))

    steady.nvmlDeviceGetTotalEnergyConsumption = millijoules
    monkeypatch.setattr(synthetic, "cuda_identity", lambda device: ("GPU-1", "2.0"))
    real = synthetic.make_step
    monkeypatch.setattr(synthetic, "make_step", lambda *a: real(a[0], a[1], a[2], a[3], a[4], a[5], "cpu"))
    monkeypatch.setattr("system.cli_gpu.nvml_module", lambda: steady)
    monkeypatch.setattr("system.cli_gpu.Timing", partial(Timing, settle_s=0.01))
    app, out = typer.Typer(), tmp_path / "rows.csv"
    register(app)
    words = ["--image-px", "32", "--width", "0.25", "--batches", "4", "--precisions", "fp32,bf16", "--layout",
             "contiguous", "--seconds", "0.1", "--warm-up", "0.05", "--idle", "0.1", "--out", str(out), "--json", "-"]
    result = CliRunner().invoke(app, ["gpu", "measure", *words], catch_exceptions=False)
    assert result.exit_code == 0
    rows = load_rows(out)
    assert [row.precision for row in rows] == ["fp32", "bf16"]
    assert all(200 < (row.idle_w or 0.0) < (row.power_w or 0.0) < 400 for row in rows)
    assert "driver 580.1; torch 2.0" in rows[0].source
    listed = CliRunner().invoke(app, ["gpu", "list", "--image-px", "32", "--width", "0.25", "--batch", "4", "--gpu",
                                      "madeup1", "--gpu-rows", str(out), "--json", "-"])
    found = json.loads(listed.stdout)["rows"]
    assert [row["time_s_per_image"] for row in found] == [1 / row.images_per_s for row in rows]


@pytest.mark.train
@pytest.mark.parametrize(("precision", "channels_last"), [("fp32", False), ("bf16", True)])
def test_a_step_trains(precision: str, channels_last: bool) -> None:
    torch = pytest.importorskip("torch")
    from system.train.synthetic import make_step

    work = make_step("mobilenet_v1", 32, 0.25, 4, precision, channels_last, "cpu")
    before = [p.detach().clone() for p in work.model.parameters()]
    losses = []
    for _ in range(20):
        work.step()
        work.synchronise()
        losses.append(work.loss())
    assert losses[-1] < losses[0]
    assert any(not torch.equal(a, b) for a, b in zip(before, work.model.parameters(), strict=True))
    assert work.images.is_contiguous(memory_format=torch.channels_last) == channels_last
    with pytest.raises(BadInput, match=r"^precision: 'int8' is not allowed; choose fp32, tf32, amp, bf16$"):
        make_step("mobilenet_v1", 32, 0.25, 4, "int8", False, "cpu")
