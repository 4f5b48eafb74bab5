"""A user's own kit: read, pruned, checked, kept confidential, refused where it cannot be used."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import made_up_kit
import pytest

from charlib.campaign.converge import Convergence, kept_path, save
from charlib.errors import BadInput
from charlib.pdk import KITS, Pdk, installed, load_pdk
from charlib.pdk.library import Library, Source
from charlib.pdk.user_kit import read_user_kit


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    made: Path = made_up_kit.make(tmp_path)
    return made


def edited(toml: Path, old: str, new: str) -> Path:
    text = toml.read_text()
    assert old in text
    toml.write_text(text.replace(old, new))
    return toml


def test_only_the_cards_in_use_reach_the_deck(toml: Path) -> None:
    cards = read_user_kit(toml).cards("ss")
    assert "canary_secret_vth=0.03" in cards
    assert cards.count(".subckt") == 2
    assert "canaryother" not in cards


def test_bins_of_other_lengths_go_when_no_foreign_netlist_might_use_them(toml: Path) -> None:
    kit = read_user_kit(toml)
    lone = Pdk(**{**{f: getattr(kit, f) for f in kit.__dataclass_fields__}, "cells": {}})
    assert len(re.findall(r"^\.model", kit.cards("tt"), re.MULTILINE)) == 4  # an own inverter: every bin stays
    assert len(re.findall(r"^\.model", lone.cards("tt"), re.MULTILINE)) == 4  # 60 nm and 120 nm: both bins
    library = Library(kit.root, kit.corners["tt"].sources)
    assert library.prune(["canarynch_ckt"], [6e-8]).count(".model") == 1


def test_a_changed_card_changes_the_hash(toml: Path) -> None:
    before = read_user_kit(toml).card_hashes("tt")
    inc = toml.parent / "secret_models" / "sub" / "nmos.inc"
    inc.write_text(inc.read_text().replace("nfactor=1.2", "nfactor=1.21"))
    assert read_user_kit(toml).card_hashes("tt") != before


def test_an_own_cell_stands_for_ours_with_its_ports_joined(toml: Path) -> None:
    text = read_user_kit(toml).subckts("buffer")
    assert "xown vdd vss vdd vss a y own_inv__FOUNDRY_INV m_own_inv__FOUNDRY_INV={drive}" in text
    assert text.count(".subckt inv ") == 1


@pytest.mark.parametrize(("old", "new", "message"), [
    ('name = "madeup"', "", r"name is missing; a text, e\.g\."),
    ("nominal_v = 1.1", 'nominal_v = "1.1"', r"supply\.nominal_v: volts, .* is needed, got '1\.1'"),
    ("range_v = [0.7, 1.2]", "range_v = [0.7]", r"supply\.range_v: \[lowest, highest\] in volts is needed"),
    ("lmin_m = 60e-9", "lmin_m = -1.0", r"PDK geometry: lmin_m must be positive, got -1"),
    ("scale = 1e-6", "scal = 1e-6", r"scal is unknown; known are "),
    ("[devices.pmos]", "[devices.pfet]", r"devices\.pfet is unknown; known are nmos, pmos"),
    ('section = "tt"', 'sektion = "tt"', r"corners\.tt\.sources: a list of \{file = "),
    ('confidential = false', 'confidential = "no"', r"confidential: true or false is needed, got 'no'"),
    ('extra = {nf = "1", multi = "1"}\n[devices.pmos]', "extra = 3\n[devices.pmos]", r"devices\.nmos\.extra: "),
    ('scale = 1e-6', 'compat = "hspice"', r"compat: one of '', hs, hsa, ps, spe is needed, got 'hspice'"),
])
def test_a_wrong_field_is_named(toml: Path, old: str, new: str, message: str) -> None:
    edited(toml, old, new)
    with pytest.raises(BadInput, match=message) as caught:
        read_user_kit(toml).cards("tt")
    assert "\n" not in str(caught.value)


def test_a_subcircuit_of_the_cards_that_has_a_name_of_ours_is_refused(toml: Path) -> None:
    inc = toml.parent / "secret_models" / "sub" / "nmos.inc"
    inc.write_text(inc.read_text().replace("canarynch_ckt", "NMOS"))
    with pytest.raises(BadInput, match=r"^cards: subcircuit 'NMOS' is called as one of ours, and of two ngspice "
                                       r"takes the first without a word; rename it in a copy of the cards$"):
        read_user_kit(edited(toml, "canarynch_ckt", "NMOS")).header("tt")


@pytest.mark.parametrize(("ports", "message"), [
    ('["vdd", "vss", "vdd", "0", "a", "y"]', r"cells\.inv\.ports: '0' is not a port of inv; .*node 0 hides currents"),
    ('["vdd", "vss", "vdd", "vss", "a", "z"]', r"cells\.inv\.ports: 'z' is not a port of inv; allowed"),
    ('["vdd", "vss", "vdd", "vss", "a", "a"]', r"cells\.inv\.ports: inv's port 'y' is joined to nothing"),
    ('["vdd", "vss", "vdd", "vss", "a"]', r"^cells\.inv\.ports: FOUNDRY_INV has 6 ports \(VPB VNB VDD VSS A Z\), "
                                         r"`ports` lists 5; list one net of inv for each, in that order$"),
    ('["vdd", "vss", "vdd", "vss", "a", "y", "y"]', r"FOUNDRY_INV has 6 ports \(.*\), `ports` lists 7; "),
])
def test_wrong_ports_of_an_own_cell_are_named(toml: Path, ports: str, message: str) -> None:
    edited(toml, '["vdd", "vss", "vdd", "vss", "a", "y"]', ports)
    with pytest.raises(BadInput, match=message):
        read_user_kit(toml)


@pytest.mark.parametrize(("text", "message"), [
    ("simulator lang=spectre\nmodel nch bsim4", r"nmos\.inc line 1: Spectre's language; ngspice cannot read it"),
    ("* cards\n.prot\nQ4%&7\n.unprot\n", r"nmos\.inc line 2: encrypted cards; ngspice cannot read them"),
    (".control\nshell touch /tmp/x\n.endc\n", r"nmos\.inc: line 1: "),
    ('.include "/etc/passwd"\n', r"lies outside the kit's folder"),
    ('.lib "../../../outside.lib" tt\n', r"lies outside the kit's folder"),
])
def test_what_cannot_or_must_not_be_read_is_refused(toml: Path, text: str, message: str) -> None:
    (toml.parent / "secret_models" / "sub" / "nmos.inc").write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        read_user_kit(toml).cards("tt")
    assert "\n" not in str(caught.value)


def test_binary_cards_are_refused(toml: Path) -> None:
    (toml.parent / "secret_models" / "sub" / "nmos.inc").write_bytes(b"\x00\xff\xfe\x80cards")
    with pytest.raises(BadInput, match=r"not text, so perhaps encrypted"):
        read_user_kit(toml).cards("tt")


def test_includes_in_a_circle_end(toml: Path) -> None:
    (toml.parent / "secret_models" / "sub" / "nmos.inc").write_text('.include "nmos.inc"\n')
    with pytest.raises(BadInput, match=r"is there a circle\?"):
        read_user_kit(toml).cards("tt")


def test_a_missing_section_lists_what_there_is(toml: Path) -> None:
    with pytest.raises(BadInput, match=r"has no section 'mc'; it has devices, ff, ss, tt, unused"):
        read_user_kit(edited(toml, 'section = "tt"', 'section = "mc"')).cards("tt")


def test_a_confidential_kit_travels_by_name_and_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = read_user_kit(made_up_kit.make(tmp_path / "kits", confidential=True))
    parcel = pickle.dumps(kit)
    assert not [canary for canary in (*made_up_kit.CANARIES, str(tmp_path)) if canary.encode() in parcel]
    with pytest.raises(BadInput, match=r"put the folder that holds 'madeup/pdk\.toml' into \$HIMC_KITS"):
        pickle.loads(parcel)
    monkeypatch.setenv("HIMC_KITS", str(tmp_path / "kits"))
    assert pickle.loads(parcel).sha256 == kit.sha256
    inc = tmp_path / "kits" / "madeup" / "secret_models" / "sub" / "nmos.inc"
    inc.write_text(inc.read_text().replace("1.2", "1.3"))
    with pytest.raises(BadInput, match="differ from those of the campaign"):
        pickle.loads(parcel)


def test_a_confidential_kit_s_fault_is_not_quoted(tmp_path: Path) -> None:
    toml = made_up_kit.make(tmp_path, confidential=True)
    (toml.parent / "secret_models" / "sub" / "nmos.inc").unlink()
    with pytest.raises(BadInput, match=r"^PDK 'madeup': corners\.tt: its cards cannot be used; why is "
                                       r"withheld, .*: 'himc pdk check PDK\.toml --reveal' shows it on this terminal "
                                       r"only$") as caught:
        read_user_kit(toml).header("tt")
    assert not [canary for canary in (*made_up_kit.CANARIES, "nmos.inc") if canary in str(caught.value)]
    assert caught.value.__cause__ is None


def _himc(folder: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(Path(sys.executable).parent / "himc"), *words], cwd=folder, capture_output=True,
                          text=True, check=False, env={**os.environ, "HIMC_CACHE": str(folder / "cache"), **extra})


@pytest.mark.ngspice
def test_nothing_of_a_confidential_kit_gets_out(tmp_path: Path) -> None:
    """A campaign that works and one that fails: no canary in database, tables, exports, errors or trace."""
    toml = made_up_kit.make(tmp_path / "kits", confidential=True)
    work = tmp_path / "work"
    work.mkdir()
    printed = []
    for words in (
        ("pdk", "show", str(toml)),
        ("pdk", "check", str(toml)),
        ("characterize", "--pdk", str(toml), "--bench", "cell_leakage", "--bench", "bitcell_snm", "--vdd-v", "1.1",
         "--out", "tables", "--quiet", "--jobs", "2"),
        ("tables", "show", "cell_leakage_w", "--tables", "tables"),
        ("tables", "export", "--tables", "tables", "--format", "csv", "--out", "csv"),
    ):
        done = _himc(work, *words)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout + done.stderr)
    nmos = toml.parent / "secret_models" / "sub" / "nmos.inc"
    nmos.write_text(nmos.read_text().replace("level=54", "level=99"))
    for status in (2, 1):  # the own inverter does not pass its bench; without it, the campaign's points fail
        done = _himc(work, "characterize", "--pdk", str(toml), "--bench", "bitcell_snm", "--vdd-v", "1.1", "--quiet")
        assert done.returncode == status, done.stderr
        printed.append(done.stdout + done.stderr)
        toml.write_text(toml.read_text().partition("[cells.inv]")[0])
    files = [path for path in work.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    canaries = [*made_up_kit.CANARIES, "FOUNDRY_INV", "nmos.inc"]
    for canary in canaries:
        assert not [text for text in printed if canary in text], canary
        assert not [path for path in files if canary.encode() in path.read_bytes()], canary
    # decks and logs are compressed in the database, so its rows are looked at as well
    from charlib.campaign.store import Store

    with Store.open(work / "himc.sqlite", create=False) as store:
        rows = store.rows([run for run, in store._db.execute("SELECT id FROM runs")])
    assert {row.status for row in rows.values()} == {"ok", "failed"}
    for row in rows.values():
        assert not [canary for canary in canaries if canary in repr(row)]
        assert row.deck == ""


@pytest.mark.ngspice
def test_a_made_up_kit_behaves_and_a_wrong_cell_does_not_pass(toml: Path) -> None:
    from charlib.campaign.kit_check import certify_cells, check_kit
    from charlib.spice.live import LiveEngine

    engine = LiveEngine()
    assert [finding for finding in check_kit(read_user_kit(toml), engine) if not finding.good] == []
    assert certify_cells(read_user_kit(toml), engine)[0].good
    cell = toml.parent / "cells" / "inv.sp"
    cell.write_text(cell.read_text().replace("xn Z A VSS", "xn Z VDD VSS"))
    with pytest.raises(BadInput, match=r"^cells\.inv: it does not pass its bench 'cell': "):
        certify_cells(read_user_kit(toml), engine)


LEAKY_CELL = """* a 6T cell with a resistor to the simulator's ground
.subckt leaky bl blb wl vdd vss
xpul q qb vdd vdd pmos_pu w=wmin l=lmin
xpdl q qb vss vss nmos_pd w='2*wmin' l=lmin
xpur qb q vdd vdd pmos_pu w=wmin l=lmin
xpdr qb q vss vss nmos_pd w='2*wmin' l=lmin
xpgl bl wl q vss nmos_pg w='1.5*wmin' l=lmin
xpgr blb wl qb vss nmos_pg w='1.5*wmin' l=lmin
rleak vdd 0 1e9
.ends leaky
"""


@pytest.mark.ngspice
def test_a_cell_that_leaks_past_its_ports_is_told_where_to_look(tmp_path: Path) -> None:
    from charlib.campaign.kit_check import certify_cells
    from charlib.spice.live import LiveEngine

    toml = made_up_kit.make(tmp_path)
    ports = 'ports = ["bl", "blb", "wl", "vdd", "vss"]'
    toml.write_text(toml.read_text().replace("unit_ps = 90", "unit_ps = 300")
                    + f'[cells.sram_6t]\nfile = "cells/leaky.sp"\nsubckt = "leaky"\n{ports}\n')
    cell = toml.parent / "cells" / "leaky.sp"
    cell.write_text(LEAKY_CELL.replace("rleak vdd 0 1e9\n", ""))
    said = [finding.detail for finding in certify_cells(read_user_kit(toml), LiveEngine()) if "sram" in finding.what]
    assert said == ["bench 'bitcell_access' passes", "bench 'bitcell_leakage' passes"]
    cell.write_text(LEAKY_CELL)
    with pytest.raises(BadInput, match=r"bench 'bitcell_leakage': cell storing 0: the currents into its ports \(vdd "
                                       r".* leaves elsewhere: through node 0 or gnd inside the netlist"):
        certify_cells(read_user_kit(toml), LiveEngine())


@pytest.mark.ngspice
@pytest.mark.pdk
@pytest.mark.skipif("sky130_models" not in installed(), reason="sky130_models is not installed")
def test_a_folder_laid_out_like_open_pdks(tmp_path: Path) -> None:
    """The same cards in open_pdks' layout, described by a pdk.toml, give the same waveforms."""
    from charlib.campaign.kit_check import _inverter_deck, largest_difference
    from charlib.spice.live import LiveEngine

    ours = load_pdk("sky130_models")
    top = tmp_path / "sky130A"
    tech, ref = top / "libs.tech" / "ngspice", top / "libs.ref" / "sky130_fd_pr" / "spice"
    (tech / "corners").mkdir(parents=True)
    ref.mkdir(parents=True)
    lines = []
    for file in ours.library("tt").files:
        if re.search(r"__(n|p)fet_01v8(_hvt)?__(tt|mismatch)|^sky130_fd_pr__special_", file.name):
            shutil.copy(file, ref)
            lines.append(f'.include "../../../libs.ref/sky130_fd_pr/spice/{file.name}"')
    special = ours.root / "models" / "corners" / "tt" / "specialized_cells.spice"
    shutil.copy(special, tech / "corners" / "specialized_cells.spice")
    text = (tech / "corners" / "specialized_cells.spice").read_text()
    (tech / "corners" / "specialized_cells.spice").write_text(
        re.sub(r'(?im)^\.include\s.*$', "", text))
    (tech / "corners" / "tt.spice").write_text("\n".join([".option scale=1.0u", *lines,
                                                          '.include "specialized_cells.spice"']) + "\n")
    (tech / "sky130.lib.spice").write_text(
        ".lib tt\n.param mc_mm_switch=0\n.param mc_pr_switch=0\n.include \"corners/tt.spice\"\n.endl tt\n")
    sizes = "\n".join(f"{name} = {getattr(ours.geometry, name)!r}" for name in
                      ("lmin_m", "wmin_m", "diffusion_m", "bitcell_width_m", "bitcell_height_m", "cell_pitch_m",
                       "wire_f_per_m", "wire_ohm_per_m"))
    toml = tmp_path / "pdk.toml"
    toml.write_text(f"""name = "open"
root = "{top}"
scale = 1e-6
unit_ps = 350
[supply]
nominal_v = 1.8
[corners.tt]
sources = [{{file = "libs.tech/ngspice/sky130.lib.spice", section = "tt"}}]
[devices.nmos]
model = "sky130_fd_pr__nfet_01v8"
wrapped = true
[devices.pmos]
model = "sky130_fd_pr__pfet_01v8_hvt"
wrapped = true
[geometry]
{sizes}
""")
    kit, engine = read_user_kit(toml), LiveEngine()
    decks = [_inverter_deck(k, "tt", k.header("tt"), 25.0) for k in (kit, ours)]
    assert largest_difference(engine.run(decks[0]), engine.run(decks[1])) < 1e-6


def test_sections_are_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "a.lib").write_text(
        ".lib one\n.param x=1\n.model m nmos level=1 vto='x'\n.endl one\n"
        ".lib two\n.param x=2\n.lib 'a.lib' one\n.endl two\n.param outside=3\n")
    assert ".param x=1" in Library(tmp_path, [Source("a.lib", "one")]).whole()
    two = Library(tmp_path, [Source("a.lib", "TWO")])
    assert [s.text for s in two.globals["x"]] == [".param x=2", ".param x=1"]
    assert "outside" not in two.globals
    assert KITS  # the catalogue loads beside it


def test_only_nets_that_benches_look_at_may_be_named(toml: Path) -> None:
    edited(toml, '[cells.inv]\n', '[cells.inv]\ninside = {q = "z"}\n')
    with pytest.raises(BadInput, match=r"^cells\.inv\.inside: 'q' is no net of inv that a bench looks at; "
                                       r"allowed are none$"):
        read_user_kit(toml)


@pytest.mark.parametrize(("old", "new", "said"), [
    ('name = "madeup"', 'name = ""', "name: letters, digits, '_', '-' and '.' are allowed, got ''"),
    ('name = "madeup"', 'name = "a/../b"', "name: letters, digits"),
    ("nominal_v = 1.1", "nominal_v = -1.1", r"supply: 0\.01 <= range_v\[0\] <= nominal_v <= range_v"),
    ("nominal_v = 1.1", "nominal_v = 1100", r"supply: 0\.01 <= range_v\[0\] <= nominal_v <= range_v\[1\] <= 20 V is"),
    ('section = "ff"}]', 'section = "ff"}]\nvth_shift_v = [30, 20]',
     r"corners\.ff\.vth_shift_v: -1 to 1 V is allowed, got 30$"),
    ("[devices.pmos]", "unit = {w_m = 0.42, l_m = 0.15}\n[devices.pmos]",
     r"devices\.nmos\.unit\.w_m: 1e-09 to 0\.001 m is allowed, got 0\.42$"),
    ("range_v = [0.7, 1.2]", "range_v = [0.2, 0.9]", "got nominal_v = 1.1 in"),
    ("range_v = [0.7, 1.2]", "range_v = [0.7, 1.2]\n[temperature]\nrange_c = [125, -40]",
     r"temperature\.range_c: \[lowest, highest\] in °C around 25 is needed, got \[125, -40\]"),
    ("lmin_m = 60e-9", "lmin_m = 60", r"geometry\.lmin_m: 1e-09 to 2e-05 m is allowed, got 60"),
    ("wmin_m = 120e-9", "wmin_m = 0.12", r"geometry\.wmin_m: 1e-09 to 0\.0001 m is allowed, got 0\.12"),
    ("wire_f_per_m = 0.2e-9", "wire_f_per_m = 0.2", r"geometry\.wire_f_per_m: 1e-12 to 1e-08 F/m is allowed"),
    ("unit_ps = 90", "unit_ps = 0", r"unit_ps: 1 to 20000 ps is allowed, got 0"),
    ("unit_ps = 90", "unit_ps = 80e3", r"unit_ps: 1 to 20000 ps is allowed, got 80000$"),
    ("wire_ohm_per_m = 3e6", "wire_ohm_per_m = 8", r"geometry\.wire_ohm_per_m: 10000 to 1e\+09 Ω/m is allowed, "
     r"got 8; 1 Ω/µm is 1e\+06 Ω/m$"),
    ("[cells.inv]", "[mismatch]\navt_nmos_mv_um = 2.5\navt_pmos_mv_um = 2.3e-9\n[cells.inv]",
     r"mismatch\.avt_pmos_mv_um: 0\.05 to 50 mV·µm is allowed, got 2\.3e-09$"),
    ("scale = 1e-6", "scale = 60.0", r"scale: 1e-09 to 1 m is allowed, got 60"),
    ('canary.lib", section = "ss"', 'none.lib", section = "ss"', r"corners\.ss\.sources: 'secret_models/none"),
])
def test_values_that_cannot_be(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = made_up_kit.make(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=said):
        read_user_kit(path)


@pytest.mark.parametrize("name", ["freepdk45", "FreePDK45", "ptm22lp"])
def test_a_catalogue_kit_s_name_is_refused(toml: Path, name: str) -> None:
    """Its tables would pass as the catalogue's, and an estimate would mix them with shipped ones."""
    with pytest.raises(BadInput, match=rf"name: '{name}' is a kit of the catalogue, .* its own, e\.g\. name = \"my_"):
        read_user_kit(edited(toml, 'name = "madeup"', f'name = "{name}"'))


@pytest.mark.parametrize(("file", "old", "new"), [
    ("pdk.toml", 'ports = ["vdd", "vss", "vdd", "vss", "a", "y"]', 'ports = ["vdd", "vss", "vss", "vdd", "a", "y"]'),
    ("pdk.toml", "diffusion_m = 150e-9", "diffusion_m = 151e-9"),
    ("pdk.toml", 'extra = {nf = "1", multi = "1"}\n[devices.pmos]', 'extra = {nf = "1"}\n[devices.pmos]'),
    ("pdk.toml", "nominal_v = 1.1", "nominal_v = 1.0"),
    ("pdk.toml", "unit_ps = 90", "unit_ps = 91"),
    ("cells/inv.sp", "w=0.2 ", "w=0.21 "),
    ("secret_models/sub/nmos.inc", "nfactor=1.2 ", "nfactor=1.3 "),
])
def test_the_hash_covers_what_changes_a_result(toml: Path, file: str, old: str, new: str) -> None:
    before = read_user_kit(toml).sha256
    assert read_user_kit(toml).sha256 == before
    edited(toml.parent / file, old, new)
    assert read_user_kit(toml).sha256 != before


def test_the_hash_is_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    one, two = (read_user_kit(made_up_kit.make(tmp_path / place)) for place in ("a", "b"))
    assert one.sha256 == two.sha256


def test_a_cell_lies_beside_pdk_toml_or_in_root(toml: Path, tmp_path: Path) -> None:
    """The cards are elsewhere, as `himc init pdk --from` leaves them; the own cell is beside the new file."""
    here = tmp_path / "here"
    here.mkdir()
    beside = here / "pdk.toml"
    beside.write_text(toml.read_text().replace("confidential =", f'root = "{toml.parent}"\nconfidential ='))
    assert "w_of_own__canarynch_ckt=0.2 " in read_user_kit(beside).subckts("inv")  # from root
    (here / "cells").mkdir()
    own = here / "cells" / "inv.sp"
    own.write_text(made_up_kit.CELL.replace("w=0.2 ", "w=0.3 "))
    assert "w_of_own__canarynch_ckt=0.3 " in read_user_kit(beside).subckts("inv")  # beside pdk.toml, first
    assert "w_of_own__canarynch_ckt=0.3 " in read_user_kit(edited(beside, "cells/inv.sp", str(own))).subckts("inv")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    own.rename(elsewhere / "inv.sp")
    edited(beside, str(own), "../elsewhere/inv.sp")
    with pytest.raises(BadInput, match=r"lies outside the kit's folder; list its folder under 'allow' in pdk\.toml"):
        read_user_kit(beside)
    edited(beside, "confidential =", 'allow = ["../elsewhere"]\nconfidential =')
    assert "w_of_own__canarynch_ckt=0.3 " in read_user_kit(beside).subckts("inv")
    (elsewhere / "inv.sp").unlink()
    with pytest.raises(BadInput, match=r"cells\.inv\.file: '\.\./elsewhere/inv\.sp' is neither in .*here nor in "
                                       r".*madeup; give its place from the folder of pdk\.toml$"):
        read_user_kit(beside)


@pytest.mark.parametrize("name", ["sram_8t", "sram6t"])
def test_a_cell_that_nothing_uses_is_refused(toml: Path, name: str) -> None:
    with pytest.raises(BadInput, match=rf"cells\.{name} is unknown; known are buffer, .*sram_6t, .*; an SRAM cell of "
                                       r"any kind, an 8T too, stands for ours as \[cells\.sram_6t\]$"):
        read_user_kit(edited(toml, "[cells.inv]", f"[cells.{name}]"))


def test_a_confidential_cell_s_fault_is_not_quoted(tmp_path: Path) -> None:
    toml = made_up_kit.make(tmp_path, confidential=True)
    with pytest.raises(BadInput, match=r"^PDK 'madeup': cells\.inv: its netlist cannot be used; why is withheld"
                       ) as caught:
        read_user_kit(edited(toml, '"a", "y"]', '"a", "y", "y"]'))
    assert "FOUNDRY_INV" not in str(caught.value)
    cell = toml.parent / "cells" / "inv.sp"
    cell.write_text(cell.read_text() + ".control\nshell canarynch\n.endc\n")
    with pytest.raises(BadInput, match=r"^PDK 'madeup': cells\.inv: its netlist cannot be used; why is withheld"):
        read_user_kit(toml)


def headers(kit: Pdk) -> list[str]:
    return [kit.sha256, kit.header("ss")]


@pytest.mark.parametrize(("old", "new", "said"), [
    ('section = "ss"', 'section = "SLOW"', "corners.ss.sources: section 'SLOW' is not in the cards"),
    ('model = "canarynch_ckt"', 'model = "nfet_LVTX"',
     "corners.ff, devices.nmos.model: 'nfet_LVTX' is neither a model nor a subcircuit in the cards"),
    ('extra = {nf = "1", multi = "1"}\n[devices.pmos]', 'extra = {nff = "1"}\n[devices.pmos]',
     "corners.ss: devices.nmos.extra: 'nff' is no parameter of its subcircuit in the cards"),
])
def test_a_confidential_kit_s_fault_names_the_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    toml = edited(made_up_kit.make(tmp_path, confidential=True), old, new)
    kit = read_user_kit(toml)
    with pytest.raises(BadInput) as caught:
        headers(kit)
    assert str(caught.value) == (f"PDK 'madeup': {said}; what they hold is withheld, since the kit is confidential: "
                                 "'himc pdk check PDK.toml --reveal' shows it on this terminal only")
    kit = read_user_kit(toml, reveal=True)
    with pytest.raises(BadInput, match=r"it has |neither") as caught:
        headers(kit)
    assert "withheld" not in str(caught.value)


def test_the_whole_library_of_a_confidential_kit_is_not_quoted(tmp_path: Path) -> None:
    toml = edited(made_up_kit.make(tmp_path, confidential=True), 'section = "ss"', 'section = "SLOW"')
    for read in (Pdk.library, Pdk.whole_header):
        with pytest.raises(BadInput, match=r"section 'SLOW' is not in the cards; what they hold is withheld"):
            read(read_user_kit(toml), "ss")


@pytest.mark.parametrize("confidential", [False, True])
def test_a_kit_takes_the_steps_that_its_own_check_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       confidential: bool) -> None:
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HIMC_KITS", str(tmp_path))
    toml = made_up_kit.make(tmp_path, confidential=confidential)
    kit = load_pdk(str(toml))
    assert kit.step_factors == {}
    save(kept_path(kit.name), kit, "ngspice-1", [Convergence("cell", {}, 4, {}, True)])
    checked = load_pdk(str(toml))
    assert checked.step_factors == {"cell": 4} == load_pdk("madeup").step_factors
    parcel = pickle.dumps(checked)
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path / "another machine"))
    assert pickle.loads(parcel).step_factors == {"cell": 4}
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path / "cache"))
    edited(toml, "unit_ps = 90", "unit_ps = 91")
    assert load_pdk(str(toml)).step_factors == {}
