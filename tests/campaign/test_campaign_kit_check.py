"""`himc pdk check` passes FreePDK45 and notices broken kits."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from charlib.campaign.kit_check import check_kit
from charlib.errors import BadInput
from charlib.pdk import Device, Pdk, installed, load_pdk
from charlib.spice.live import LiveEngine, library_path

pytestmark = [pytest.mark.ngspice,
              pytest.mark.skipif(library_path() is None, reason="libngspice is not on this machine"),
              pytest.mark.skipif("freepdk45" not in installed(), reason="freepdk45 is not installed")]


@pytest.fixture
def copied(tmp_path: Path) -> Pdk:
    kit = load_pdk("freepdk45")
    shutil.copytree(kit.root, tmp_path / "kit")
    return dataclasses.replace(kit, root=tmp_path / "kit")


def bad(kit: Pdk) -> list[str]:
    return [finding.what for finding in check_kit(kit, LiveEngine()) if not finding.good]


def test_freepdk45_behaves(copied: Pdk) -> None:
    findings = check_kit(copied, LiveEngine())
    assert len(findings) == 5 * 9 + 1
    assert [f for f in findings if not f.good] == []


def test_swapped_corners_are_noticed(copied: Pdk) -> None:
    swapped = {**copied.corners, "ss": copied.corners["ff"], "ff": copied.corners["ss"]}
    assert bad(dataclasses.replace(copied, corners=swapped)) == ["corner order"]


def test_swapped_devices_are_noticed(copied: Pdk) -> None:
    devices = {**copied.devices, "nmos": copied.devices["pmos"]}
    with pytest.raises(BadInput, match=r"^devices\.nmos: 'PMOS_VTG' is a pmos in the cards; name the other one$"):
        check_kit(dataclasses.replace(copied, devices=devices), LiveEngine())


def test_a_model_that_is_said_to_be_a_subcircuit_is_noticed(copied: Pdk) -> None:
    devices = {**copied.devices, "nmos": dataclasses.replace(copied.devices["nmos"], wrapped=True)}
    with pytest.raises(BadInput, match=r"^devices\.nmos: 'NMOS_VTG' is a \.model in the cards; set wrapped = false$"):
        check_kit(dataclasses.replace(copied, devices=devices), LiveEngine())


def test_devices_of_a_wrong_size_stop_before_a_circuit_of_them_runs(copied: Pdk) -> None:
    findings = check_kit(dataclasses.replace(copied, scale=1e-6), LiveEngine())
    inverters = [finding for finding in findings if finding.what.endswith("inverter")]
    assert {finding.detail.partition(";")[0] for finding in inverters} == {"not simulated"}


def test_a_missing_model_is_noticed(copied: Pdk) -> None:
    assert bad(dataclasses.replace(copied, devices={**copied.devices, "nmos": Device("NIX")}))[:1] == ["tt"]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_the_simulator_stays_on_one_thread(copied: Pdk) -> None:
    engine = LiveEngine()
    before = len(os.listdir("/proc/self/task"))
    assert check_kit(copied, engine)
    assert len(os.listdir("/proc/self/task")) == before
