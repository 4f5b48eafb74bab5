"""Screening follows what a netlist takes in, and stays inside the allowed folders."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

import charlib.screen as screen_module
from charlib.errors import BadInput
from charlib.screen import MAX_DEPTH, screen, screen_file


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder "kit" beside a file that it may not take in; the working folder is elsewhere."""
    folder = tmp_path / "kit"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "outside.inc").write_text("r1 a b 1\n")
    monkeypatch.chdir(tmp_path / "work")
    return folder


def refusal(path: Path, *allowed: Path) -> str:
    with pytest.raises(BadInput) as caught:
        screen_file(path, allowed)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_comes_back_with_plain_line_ends(kit: Path) -> None:
    (kit / "a.sp").write_bytes(b"* title\r\nr1 a b 1\r\n")
    assert screen_file(kit / "a.sp", [kit]) == "* title\nr1 a b 1\n"


def test_includes_are_screened_to_the_end(kit: Path) -> None:
    (kit / "a.sp").write_text("* a\n.include sub/b.inc\n.lib 'sub/c.lib' tt\n")
    (kit / "sub" / "b.inc").write_text("* b\n.inc \"d.inc\" $ beside b\n")
    (kit / "sub" / "c.lib").write_text("* c\n.lib tt\nr3 a b 1\n.endl\n")
    (kit / "sub" / "d.inc").write_text("* d\nr2 a b 1\n")
    assert screen_file(kit / "a.sp", [kit]).startswith("* a\n")
    (kit / "sub" / "d.inc").write_text("* d\nr2 a b 1\n*#shell touch x\n")
    assert refusal(kit / "a.sp", kit).startswith("d.inc: line 3: '*#'")
    (kit / "sub" / "d.inc").write_text("+ filesource\n")
    assert refusal(kit / "a.sp", kit).startswith("d.inc: line 1: a continuation line")


def test_a_text_follows_its_includes_too(kit: Path) -> None:
    text = "* title\n.include good.inc\n"
    (kit / "good.inc").write_text("r1 a b 1\n")
    screen(text, "deck", allowed=[kit], relative_to=kit)
    (kit / "good.inc").write_text("r1 a b 1\n.control\n")
    with pytest.raises(BadInput, match=r"^good\.inc: line 2: '\.control' is not allowed in a netlist; "):
        screen(text, "deck", allowed=[kit], relative_to=kit)
    with pytest.raises(BadInput, match=r"^deck: line 2: '\.include' of 'good\.inc', outside the allowed folders, is"):
        screen(text, "deck", relative_to=kit)


@pytest.mark.parametrize("card", [
    ".include ../outside.inc", ".include 'sub/../../outside.inc'", ".lib ../outside.inc tt", ".include link.inc",
    ".include {tmp}/outside.inc", ".include folder/outside.inc", ".lib ../outside.inc $ tt",
    ".include ../missing.inc",
])
def test_files_outside_are_refused(kit: Path, card: str) -> None:
    (kit / "link.inc").symlink_to(kit.parent / "outside.inc")
    (kit / "folder").symlink_to(kit.parent)
    (kit / "a.sp").write_text(f"* a\nr1 a b 1\n{card.format(tmp=kit.parent)}\n")
    assert re.match(r"a\.sp: line 3: '\.\w+' of '.*', outside the allowed folders, is not allowed in a netlist; ",
                    refusal(kit / "a.sp", kit))
    if "missing" not in card:
        assert screen_file(kit / "a.sp", [kit.parent])


def test_a_file_of_that_name_in_the_working_folder_is_what_ngspice_would_take(kit: Path) -> None:
    (kit / "a.sp").write_text("* a\n.include b.inc\n.lib 'c' $ a section's head, or a file\n.endl\n")
    (kit / "b.inc").write_text("r1 a b 1\n")
    screen_file(kit / "a.sp", [kit])
    Path("b.inc").write_text("r1 a b 1\n")
    assert refusal(kit / "a.sp", kit).startswith("a.sp: line 2: '.include' of 'b.inc', outside the allowed folders,")
    screen_file(kit / "a.sp", [kit, Path.cwd()])
    Path("b.inc").write_text(".control\n")
    assert refusal(kit / "a.sp", kit, Path.cwd()).startswith("b.inc: line 1: '.control'")
    Path("b.inc").unlink()
    Path("c").write_text("r1 a b 1\n")
    assert refusal(kit / "a.sp", kit).startswith("a.sp: line 3: '.lib' of 'c', outside the allowed folders,")


@pytest.mark.parametrize("target", [
    "~/x.inc", "$HOME/x.inc", "a//x.inc", "//a/x.inc", "a\\\\x.inc", "C:/x.inc", "x.inc;", "{x}.inc", "x*.inc",
    "'a b'.inc", "",
])
def test_only_plain_paths_are_looked_for(kit: Path, target: str) -> None:
    (kit / "a.sp").write_text(f"* a\n.include \"{target}\"\n")
    assert re.match(r"a\.sp: line 2: '\.include' (of '.*'|in another form.*) is not allowed in a netlist; write ",
                    refusal(kit / "a.sp", Path("/")))


def test_a_folder_s_name_may_hold_blanks(kit: Path) -> None:
    (kit / "my cards").mkdir()
    (kit / "my cards" / "b.inc").write_text("r1 a b 1\n.control\n")
    (kit / "a.sp").write_text("* a\n.include 'my cards/b.inc'\n")
    assert refusal(kit / "a.sp", kit).startswith("b.inc: line 2: '.control'")


def test_only_the_called_section_is_followed(kit: Path) -> None:
    (kit / "l.lib").write_text("* l\n.lib tt\nr1 a b 1\n.endl tt\n.lib missing.lib x\n"
                               ".lib ss\n.lib missing.lib x\n.endl\n")
    screen("* t\n.lib l.lib TT\n", "deck", allowed=[kit], relative_to=kit)
    with pytest.raises(BadInput, match=r"^l\.lib: line 7: "):
        screen("* t\n.lib l.lib ss\n", "deck", allowed=[kit], relative_to=kit)
    assert refusal(kit / "l.lib", kit).startswith("l.lib: line 5: '.lib' of 'missing.lib', which does not exist, ")


def test_circles_are_refused_and_a_library_may_call_its_own_sections(kit: Path) -> None:
    (kit / "a.sp").write_text("* a\n.include b.inc\n")
    (kit / "b.inc").write_text("* b\n\n.include a.sp\n")
    assert refusal(kit / "a.sp", kit).startswith("b.inc: line 3: '.include' of 'a.sp', which goes in a circle, ")
    (kit / "self.inc").symlink_to(kit / "b.inc")
    (kit / "b.inc").write_text(".include self.inc\n")
    assert "goes in a circle" in refusal(kit / "b.inc", kit)
    library = "* l\n.lib tt\n.lib 'l.lib' MOS\n.endl\n.lib mos\nr1 a b 1\n{}.endl\n"
    (kit / "l.lib").write_text(library.format(""))
    screen("* t\n.lib l.lib tt\n", "deck", allowed=[kit], relative_to=kit)
    screen_file(kit / "l.lib", [kit])
    (kit / "l.lib").write_text(library.format(".lib l.lib tt\n"))
    with pytest.raises(BadInput, match=r"^l\.lib: line 7: '\.lib' of 'l\.lib', which goes in a circle, is not"):
        screen("* t\n.lib l.lib tt\n", "deck", allowed=[kit], relative_to=kit)


def test_depth_is_limited(kit: Path) -> None:
    def chain(length: int) -> Path:
        for k in range(length):
            (kit / f"{k}.inc").write_text(f".include {k + 1}.inc\n" if k + 1 < length else "r1 a b 1\n")
        return kit / "0.inc"

    screen_file(chain(MAX_DEPTH), [kit])
    assert f"to a depth of more than {MAX_DEPTH} files is not allowed" in refusal(chain(MAX_DEPTH + 1), kit)
    (kit / "start.sp").write_text("* s\n.include 8.inc\n.include 0.inc\n")  # 8.inc is known when 7.inc comes to it
    chain(MAX_DEPTH)
    assert "to a depth of more than" in refusal(kit / "start.sp", kit)


def test_a_tree_that_doubles_at_each_level_is_followed_once(kit: Path) -> None:
    for k in range(MAX_DEPTH - 1):
        (kit / f"{k}.inc").write_text(f".include {k + 1}.inc\n.include ./{k + 1}.inc\n" * 20)
    (kit / f"{MAX_DEPTH - 1}.inc").write_text("r1 a b 1\n")
    begin = time.perf_counter()
    screen_file(kit / "0.inc", [kit])
    assert time.perf_counter() - begin < 1.0


def test_what_is_no_text_file_is_refused(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.match(r"missing\.sp: cannot be read \(No such file or directory\); ", refusal(kit / "missing.sp", kit))
    assert refusal(kit / "sub", kit) == "sub: is not a plain file; name a text file"
    os.mkfifo(kit / "pipe")
    (kit / "a.sp").write_text("* a\n.include pipe\n")
    assert refusal(kit / "a.sp", kit) == "a.sp: line 2: pipe: is not a plain file; name a text file"
    (kit / "a.sp").write_text("* a\n.include missing.inc\n")
    assert refusal(kit / "a.sp", kit).startswith("a.sp: line 2: '.include' of 'missing.inc', which does not exist, ")
    (kit / "a.sp").write_text("* a\n.include " + "n" * 300 + "\n")
    assert refusal(kit / "a.sp", kit).startswith("a.sp: line 2: '.include' of 'nnn")
    (kit / "latin.sp").write_bytes(b"* a\nr1 a b 1\xb5 ; m\n")
    assert refusal(kit / "latin.sp", kit).startswith("latin.sp line 2: the byte 0xb5 outside a comment is not UTF-8")
    (kit / "loop").symlink_to(kit / "loop")
    assert refusal(kit / "loop", kit).startswith("loop: cannot be ")
    monkeypatch.setattr(screen_module, "MAX_BYTES", 1 << 20)
    (kit / "big.sp").write_text("* " + "a" * (1 << 20))
    assert refusal(kit / "big.sp", kit) == "big.sp: is larger than 1 MB; cut it down to what is used"
