"""`himc pdk check` passes FreePDK45 and notices broken kits."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import made_up_kit
import pytest

from charlib.campaign.converge import Convergence
from charlib.campaign.kit_check import _size, check_kit, prune_proof
from charlib.cli_pdk import _open
from charlib.errors import BadInput
from charlib.pdk import Device, Pdk, installed, load_pdk
from charlib.pdk.user_kit import read_user_kit
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


HIDDEN = "'himc pdk check PDK.toml --reveal' shows it on this terminal only"


def himc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in `folder`, which is all that it may write to."""
    places = {name: str(folder / name.lower()) for name in ("HOME", "HIMC_CACHE", "XDG_CACHE_HOME", "TMPDIR")}
    (folder / "tmpdir").mkdir(parents=True, exist_ok=True)
    return subprocess.run([str(Path(sys.executable).parent / "himc"), *words], cwd=folder, capture_output=True,
                          text=True, check=False, env={**os.environ, **places})


#: a fault -> what to change in the cards of the nMOS; what only --reveal says; what is said without it
FAULTS = {
    "a parameter": ("nfactor=1.2", "nfactor=1.2 canaryparam=3", "canaryparam",
                    "ss cards: ngspice complains in 1 line, withheld since the kit is confidential: " + HIDDEN
                    + "; where that is harmless, list its text with a reason under accepted_warnings"),
    "a level": ("level=54", "level=99", "canarynch", "the simulation failed; why is withheld, since the kit is "
                "confidential: 'himc pdk check PDK.toml --reveal' shows what the kit's own checks say, on this"),
    "a language": ("\n.subckt", "\nsimulator lang=spectre\n.subckt", "nmos.inc line",
                   "corners.tt: its cards cannot be used; why is withheld, since the kit is confidential: " + HIDDEN),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_confidential_kit_withholds_is_revealed_on_the_terminal_alone(tmp_path: Path, fault: str) -> None:
    old, new, canary, said = FAULTS[fault]
    toml, work = made_up_kit.make(tmp_path / "kits", confidential=True), tmp_path / "work"
    toml.write_text(toml.read_text().partition("[cells.inv]")[0])
    inc = toml.parent / "secret_models" / "sub" / "nmos.inc"
    assert old in inc.read_text()
    inc.write_text(inc.read_text().replace(old, new))
    for words in ((), ("--reveal",)):
        done = himc(work, "pdk", "check", str(toml), "--json", "found.json", *words)
        assert done.returncode != 0
        assert (canary in done.stderr) == bool(words), done.stderr
        assert canary not in done.stdout
        assert words or said in done.stdout + done.stderr
        kept = [path for path in work.rglob("*") if path.is_file() and path.name != "found.json"]
        assert kept == []  # no cards, no deck, no log
        found = work / "found.json"
        text = found.read_text() if found.exists() else "[]"
        assert all(set(one) == {"what", "good", "detail"} for one in json.loads(text))
        texts = [done.stdout, text]
        assert not [word for word in made_up_kit.CANARIES for text in texts if word in text]


def test_a_kit_without_tt_is_told_so_and_the_check_says_what_it_does(tmp_path: Path) -> None:
    toml, work = made_up_kit.make(tmp_path), tmp_path / "work"
    text = toml.read_text()
    toml.write_text(text.replace("[corners.tt]", "[corners.typ]"))
    done = himc(work, "pdk", "check", str(toml))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("madeup: no corner is called tt, the one that estimates and campaigns take unless "
                                  "told otherwise; give --corner typ (or another of typ, ss, ff) everywhere\n"
                                  "cells.inv: bench 'cell'\n"
                                  "madeup: devices and an inverter in typ, ss, ff, unit_ps = 90\n")
    toml.write_text(text)
    assert himc(work, "pdk", "check", str(toml), "--quiet").stderr == ""


def test_sizes_and_times_are_comparable(tmp_path: Path) -> None:
    kit = read_user_kit(made_up_kit.make(tmp_path))
    assert (_size(480), _size(97_400)) == ("480 B", "97 kB")
    detail = prune_proof(kit, "tt", LiveEngine()).detail
    seconds = [word for word, unit in zip(detail.split(), detail.split()[1:], strict=False) if unit.startswith("s")]
    assert [len(word.partition(".")[2]) for word in seconds] == [2, 2]
    assert " 0 kB" not in detail


def test_a_kept_convergence_holds_no_words_of_the_simulator() -> None:
    worst = {"step": ("rise_s", 0.1), "gmin": ("no result: ngspice: canarynch", None)}
    result = Convergence("cell", {}, 1, worst, False)
    assert _open(result).worst == {"step": ("rise_s", 0.1), "gmin": ("no result", None)}
