"""Parameters and copies of a kit's devices: what ngspice would drop without a word is refused."""

from __future__ import annotations

import re
from pathlib import Path

import made_up_kit
import pytest

from charlib.errors import BadInput
from charlib.pdk.user_kit import read_user_kit


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    made: Path = made_up_kit.make(tmp_path)
    return made


def edited(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(("head", "extra", "fault"), [
    ("multi=1", '{nf = "1", Multi = "1", m = "2"}', ""),
    ("\n* said between\n+ params: multi = 1 $ vt=3\n+", '{multi = "1"}', ""),
    ("multi=1", '{nff = "1"}', "it has ad, as, l, multi, nf, pd, ps, w; mend it"),
    ("\n+ multi = 1 $ vt=3\n+", '{vt = "1"}', "it has ad, as, l, multi, nf, pd, ps, w; mend it"),
])
def test_an_extra_parameter_is_one_of_the_subcircuit_s(toml: Path, head: str, extra: str, fault: str) -> None:
    inc = toml.parent / "secret_models" / "sub" / "nmos.inc"
    edited(inc, "nf=1 multi=1", f"nf=1 {head}")
    edited(toml, '{nf = "1", multi = "1"}\n[devices.pmos]', f"{extra}\n[devices.pmos]")
    kit = read_user_kit(toml)
    if not fault:
        assert kit.header("tt")
        return
    with pytest.raises(BadInput) as caught:
        kit.header("tt")
    name = extra[1:].partition(" ")[0]
    assert str(caught.value) == (f"devices.nmos.extra: '{name}' is no parameter of subcircuit 'canarynch_ckt'; "
                                 f"{fault}")


@pytest.mark.parametrize(("inner", "fits"), [("m={multi}", True), ("m=1", True), ("", True), ("m=3", False),
                                             ("m={multi*2}", False)])
def test_copies_of_a_device_are_refused_where_its_subcircuit_would_lose_them(toml: Path, inner: str,
                                                                             fits: bool) -> None:
    """ngspice puts a call's m in the place of the one inside."""
    inc = toml.parent / "secret_models" / "sub" / "nmos.inc"
    text = re.sub(r" m=\S+", "", inc.read_text(encoding="utf-8"))
    text = re.sub(r"^(m\S+ d g s b .*)$", rf"\1 {inner}", text, count=1, flags=re.MULTILINE)
    inc.write_text(text, encoding="utf-8")
    edited(toml, '{nf = "1", multi = "1"}\n[devices.pmos]', '{multi = "1", m = "2"}\n[devices.pmos]')
    if fits:
        assert read_user_kit(toml).header("tt")
        return
    with pytest.raises(BadInput, match=r"^devices\.nmos: several copies \(unit, or m in extra\) of subcircuit "
                                       r"'canarynch_ckt' would be lost on its own m or inner calls; name a device"):
        read_user_kit(toml).header("tt")
