"""Card files as vendors write them: encodings, marks, line ends; what is encrypted or broken is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from charlib.errors import BadInput
from charlib.pdk.user_kit import read_user_kit
from charlib.screen import screen_file
from tests.campaign.test_conditional_cards import CLOSED_V, PX, kit, nx

CARDS = nx(CLOSED_V) + PX


def bare(cards: str) -> str:
    return "\n".join(line for line in cards.splitlines() if line[:1] != "*")


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("raw", [
    f"* lengths in µm\n{CARDS}".encode("latin-1"),
    f"* Länge – „µm“\n{CARDS}".encode("cp1252"),
    f"* 長さ 表\n{CARDS}".encode("shift_jis"),
    f"* 单位\n{CARDS}".encode("gbk"),
    f"* lengths in µm\n{CARDS}".replace("k1=0.4\n", "k1=0.4 $ µ\n").encode("latin-1"),
    f"* lengths in µm\n{CARDS}".encode("utf-8-sig"),
    f"* lengths in µm\n{CARDS}".encode("utf-16"),
    b"\xfe\xff" + f"* lengths in µm\n{CARDS}".encode("utf-16-be"),
    f"* lengths in µm\n{CARDS}".replace("\n", "\r\n").encode("latin-1"),
], ids=["latin-1", "cp1252", "shift-jis", "gbk", "behind a value", "utf-8 mark", "utf-16", "utf-16-be", "crlf"])
def test_a_comment_may_be_in_any_encoding(tmp_path: Path, raw: bytes, prune: bool) -> None:
    path = kit(tmp_path, "", prune=prune)
    (tmp_path / "switch.lib").write_bytes(raw)
    read = bare(read_user_kit(path).cards("tt"))
    assert [line.split(" $")[0] for line in read.splitlines()] == CARDS.splitlines()


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize(("raw", "message"), [
    (CARDS.replace("nx nmos", "nµ nmos").encode("latin-1"),
     r"switch\.lib line 1: the byte 0xb5 outside a comment is not UTF-8; save the file as UTF-8 text, or, in what is "
     r"not text at all, ask the foundry for plain HSPICE or ngspice models$"),
    (b"* cards\n\x8f\x91\xa7\xff\n", r"switch\.lib line 2: the byte 0x8f outside a comment"),
    (b"* cards\nabc\x00\x01\n", r"switch\.lib line 2: the byte 0x00, so it is not text, so perhaps encrypted"),
    (CARDS.encode("utf-16")[:-1], r"switch\.lib: it begins as utf-16 text but is not \(truncated data at byte \d+\)"),
    (f"* cards\n{CARDS}".replace("toxe=1.8e-9", "toxe=1.8e-9µ").encode(),
     r"switch\.lib: line 2: the character U\+00B5 outside a comment"),
])
def test_what_is_no_text_is_refused_by_its_line(tmp_path: Path, raw: bytes, message: str, prune: bool) -> None:
    path = kit(tmp_path, "", prune=prune)
    (tmp_path / "switch.lib").write_bytes(raw)
    with pytest.raises(BadInput, match=f"^{message}"):
        read_user_kit(path).cards("tt")


@pytest.mark.parametrize("head", [".prot", ".PROTECT", "* Encrypted by metaencrypt", "$begin_protected"])
def test_encrypted_cards_are_named_as_such(tmp_path: Path, head: str) -> None:
    path = kit(tmp_path, "")
    raw = b"* cards in \xb5m\n" + head.encode() + b"\n\x8f\x91\x00\xa7\xff\n.unprot\n"
    (tmp_path / "switch.lib").write_bytes(raw)
    with pytest.raises(BadInput, match=r"^switch\.lib line 2: encrypted cards; ngspice cannot read them"):
        read_user_kit(path).cards("tt")


def test_an_own_cell_may_say_micrometres_in_latin_1(tmp_path: Path) -> None:
    cell = tmp_path / "cell.sp"
    cell.write_bytes(b"* widths in \xb5m\n.subckt q a\nr1 a 0 1k\n.ends\n")
    assert screen_file(cell, [tmp_path]).startswith("* widths in ?m\n.subckt")


def test_the_kits_own_file_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = kit(tmp_path, CARDS)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read_user_kit(path).name == "switched"


def test_whole_files_have_no_sections(tmp_path: Path) -> None:
    path = kit(tmp_path, f".lib tt\n{CARDS}.endl\n", prune=False)
    with pytest.raises(BadInput, match=r"prune: true is needed for section 'tt' of 'switch\.lib' in corners\.tt; "):
        read_user_kit(path)
