"""Random disguises in harmless netlists are refused at their line; random text raises nothing but BadInput."""

from __future__ import annotations

import contextlib
import time
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlib.errors import BadInput
from charlib.screen import screen, screen_file
from charlib.screen_rules import COMMANDS, MODEL_TYPES, OPTIONS

DECK = """* a deck
.param w=1u l='2*w'
.model nch nmos (level=1
+ vto=0.4 $ threshold
* between
+ kp=1e-4)
.subckt unused a b
r1 a b 1k
c1 a b 1f
.ends unused

.if (w > 1)
r2 a 0 1 ; 1 kΩ
.endif
v1 a 0 pwl(0 0
+ 1n 1)
m1 a a 0 0 nch w={w} l={l}
.options reltol=1e-3
.tran 1p 1n
.meas tran e integ i(v1) from=0 to=1n
.end
"""
BASES = [DECK, DECK.replace("\n", "\r\n"),
         (resources.files("netlists") / "cells" / "full_adder.sp").read_text("utf-8")]
BLANKS = st.text(" \t", max_size=3)
COMMAND_LINES = st.sampled_from(["shell touch x", "pre_osdi x", "source x.sp", "`touch x`", "echo a > x"])
TAILS = st.sampled_from(["", " ", " tt", ";comment", " ; comment", "//comment", " $ comment", "\t$", "\r"])
FIRST_OF_TWO = st.sampled_from(list("*$\";?=&%([:,!#rRxXvVmM"))
HIDDEN = st.sampled_from(
    [chr(c) for c in (*range(9), 11, 12, *range(14, 32), *range(127, 160), 0x2028, 0x2029, 0x202E, 0xFEFF)])


@st.composite
def any_case(draw: st.DrawFn, words: st.SearchStrategy[str]) -> str:
    word = draw(words)
    return "".join(c.upper() if draw(st.booleans()) else c for c in word)


def of(*words: str) -> st.SearchStrategy[str]:
    return any_case(st.sampled_from(words))


def line(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map("".join)


def in_path() -> st.SearchStrategy[str]:
    step = st.sampled_from(["..", ".", "~", "$HOME", "etc", "passwd", "C:", "evil.inc", "a b"])
    path = line(st.sampled_from(["/", "../", "", "//", "\\\\"]), st.lists(step, min_size=1, max_size=4).map("/".join))
    return st.tuples(st.sampled_from(["", "'", '"']), path).map(lambda t: t[0] + t[1] + t[0])


#: one line each
HOSTILE = st.one_of(
    line(BLANKS, of(".control", ".endc", ".exec", ".csparam", ".osdi", ".controlfoo", ".hdl"), TAILS),
    line(BLANKS, "*#", BLANKS, COMMAND_LINES),
    line(BLANKS, FIRST_OF_TWO, "#", COMMAND_LINES),
    line(BLANKS, of("*ng_script"), TAILS),
    line(BLANKS, of(".title"), " ", BLANKS, of("*ng_script"), TAILS),
    line(BLANKS, of(".include", ".inc", ".incl", ".incfoo"), BLANKS, in_path(), TAILS),
    line(BLANKS, of(".lib", ".libfoo"), " ", in_path(), " tt", TAILS),
    line(BLANKS, of(".model"), " ", BLANKS, "m9 ", of(*MODEL_TYPES), st.sampled_from(["", "(", " (a=1)"])),
    line(BLANKS, of(".opt", ".options"), " gmin=1e-15 ", of(*OPTIONS), st.sampled_from(["", "=x", " = 'x'"])),
    line(BLANKS, "v9 c 0 ", of("pwl"), BLANKS, st.sampled_from(["", "("]), BLANKS, of("file"), BLANKS, "='x'"),
    line(BLANKS, "r9 a b `touch x`"),
    line("* a comment ", HIDDEN, st.sampled_from([".control", "*#shell", ""])),
    line("r9 a", HIDDEN, " b 1"),
    line(BLANKS, of(".con"), "\r", of("trol")),
    line("r9 a b 1 \\\\", BLANKS),
    line(st.sampled_from([".cоntrol", "r9 a b 1Ω", "ｒ9 a b 1", "\u00a0.control"])),
)
#: harmless in line 1, which is a title
HOSTILE_BELOW_THE_TITLE = st.one_of(
    line(BLANKS, of(*COMMANDS), st.sampled_from([" x", "\tx.y", " > x"])),
    line(BLANKS, of("pre_"), st.sampled_from(["osdi x", "shell touch x"])),
    line(BLANKS, st.sampled_from(list("@!\\{}[]<>=?%&|^~0123456789")), COMMAND_LINES),
)


def insert(base: str, row: int, hostile: str) -> tuple[str, int]:
    """The text with a line more, and that line's number."""
    lines = base.split("\n")
    row %= len(lines)
    return "\n".join([*lines[:row], hostile, *lines[row:]]), row + 1


def refused_line(text: str) -> int:
    with pytest.raises(BadInput) as caught:
        screen(text, "deck")
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert "is not allowed in a netlist; " in message
    return int(message.removeprefix("deck: line ").split(":")[0])


@pytest.mark.parametrize("base", BASES)
def test_the_bases_are_harmless(base: str) -> None:
    screen(base, "deck")


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(BASES), st.integers(0, 1000), HOSTILE)
def test_a_disguised_line_is_refused_anywhere(base: str, row: int, hostile: str) -> None:
    text, number = insert(base, row, hostile)
    assert refused_line(text) == number


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(BASES), st.integers(1, 1000), HOSTILE_BELOW_THE_TITLE)
def test_a_command_is_refused_below_the_title(base: str, row: int, hostile: str) -> None:
    lines = base.count("\n")
    text, number = insert(base, 1 + row % lines, hostile)
    assert refused_line(text) == number


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.lists(st.sampled_from(["", "* between", "$ between", "*## between"]), max_size=3),
       st.sampled_from([("v9 c 0 pwl", "file=\"x\""), (".model m9", "filesource"), (".options reltol=1", "rawfile=x"),
                        ("r9 a b 1", ".control"), (".model m9", "(D_State a=1)")]))
def test_a_continuation_line_is_refused(row: int, between: list[str], card: tuple[str, str]) -> None:
    text, number = insert(DECK, row, "\n".join([card[0], *between, f" + {card[1]}"]))
    assert refused_line(text) == number + len(between) + 1


PIECES = st.sampled_from([
    ".", "*", "#", "+", "$", ";", "//", "\n", "\r\n", "\r", " ", "\t", "'", '"', "`", "=", "(", ")", "{", "}", "\\\\",
    ".include ", ".lib ", ".model ", ".title ", ".options ", ".endl", ".control", "*ng_script", "file", "pwl", "r1",
    "a", "x.inc", "..", "/", "tt", "nmos", "filesource", "simulation", "load", "set", "\0", "\u2028", "é", "\ud800",
])
ANY_TEXT = st.one_of(st.text(st.characters(exclude_categories=())), st.lists(PIECES, max_size=60).map("".join))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kit")


@settings(max_examples=300, deadline=None)
@given(text=ANY_TEXT, repeat=st.sampled_from([1, 1, 1, 1000]))
def test_random_text_raises_nothing_but_bad_input(folder: Path, text: str, repeat: int) -> None:
    begin = time.perf_counter()
    with contextlib.suppress(BadInput):
        screen(text * repeat, "deck", allowed=[folder], relative_to=folder)
    assert time.perf_counter() - begin < 1.0


@settings(max_examples=60, deadline=None)
@given(raw=st.one_of(st.binary(max_size=200), ANY_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_random_files_raise_nothing_but_bad_input(folder: Path, raw: bytes) -> None:
    path = folder / "random.sp"
    path.write_bytes(raw)
    with contextlib.suppress(BadInput):
        got = screen_file(path, [folder])
        with contextlib.suppress(UnicodeDecodeError):  # comments may be in another encoding, or begin with a mark
            assert got.removeprefix("\ufeff") == raw.decode("utf-8-sig").replace("\r\n", "\n")
