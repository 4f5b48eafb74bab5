"""Random damage to a valid campaign file: it stays valid, or it is refused in one line that names a line of it."""

from __future__ import annotations

import re
import string
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from charlib.campaign.config import CampaignFile, parse_campaign
from charlib.campaign.schema import MAX_POINTS
from charlib.errors import BadInput

NAME = Path("c.yaml")
EXAMPLE = resources.files("charlib.data").joinpath("campaign.example.yaml").read_text(encoding="utf-8")
#: the example with every field in use, comments gone
FULL = "\n".join(line for line in EXAMPLE.splitlines() if line and not line.startswith("#")) + """
mismatch: {samples: 200, seed: 1}
tolerance: 0.02
jobs: 2
scheduler: tcp://head-node:8786
timeout_s: 1200
retry_failed: false
out: tables
"""
LINES = FULL.splitlines()
#: texts that stand for wrong types, hostile numbers and YAML's own traps
VALUES = st.sampled_from([
    "", "~", "null", "true", "no", "0", "-1", "1e999", "-1e-999", "1e-11", "9" * 400, "9" * 5000, ".nan", ".inf",
    "-.inf", "nan", "inf", "0x10", "0o7", "010", "1_000", "1:30", "10ps", "0.5fF", "0.8V", "5e-324V", "[]", "{}",
    "[[[[[]]]]]", "[1, [2]]", "{a: 1}", "'", '"', "'text'", '"\\x00"', '"\\ud800"', '"\\UFFFFFFFF"', "|\n  a\n  b",
    ">", "- a", "? a", "&a b", "*a", "!!int 3", "!!python/object:os.system {}", "! x", "<<", "\t1", "1\t", "#", "@",
    "`", "%", "a: b: c", "{" * 40, "[" * 40 + "]" * 40, "\u202e", "\ufeff", "\x85", "\u2028", "é", "𝔘",
    "[" + "1, " * 500 + "1]", "2147483647", "4294967296", "1" + "0" * 18, "2024-01-01", "=", "---", "...",
])
ONE_LINE = re.compile(r"campaign c\.yaml: line ([1-9][0-9]*): [^\n\r\x85\u2028\u2029]+")


def outcome(content: bytes | str) -> CampaignFile | None:
    """The campaign of a valid file; None where it is refused as it should be."""
    content = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    try:
        return parse_campaign(content, NAME)
    except BadInput as error:
        message = str(error)
        found = ONE_LINE.fullmatch(message)
        assert found, message
        breaks = len(re.findall("\r\n|[\n\r\x85\u2028\u2029]", content.decode("utf-8", "replace")))
        assert int(found[1]) <= breaks + 1, message
        assert message.isprintable()
        assert len(message) < 900
        return None


def check(content: bytes | str) -> None:
    """A campaign that is accepted holds what the rest relies on."""
    said = outcome(content)
    if said is None:
        return
    assert all(0 < value <= 100 for value in said.vdd_v)
    assert all(-273.15 < value <= 1000 for value in said.temp_c)
    assert sum(map(len, said.grids.values())) <= MAX_POINTS
    assert said.jobs is None or 1 <= said.jobs <= 4096
    assert said.tolerance is None or 0 < said.tolerance <= 1
    assert set(said.grids) <= set(said.benches)


def test_the_starting_point_is_valid() -> None:
    said = outcome(FULL)
    assert said is not None
    assert said.scheduler == "tcp://head-node:8786"
    assert len(said.grids["cell"]) == 12


@given(st.integers(0, len(LINES) - 1), VALUES)
@settings(max_examples=250, deadline=None)
def test_a_value_replaced(at: int, value: str) -> None:
    key, colon, _ = LINES[at].partition(":")
    check("\n".join([*LINES[:at], f"{key}{colon} {value}", *LINES[at + 1:]]))


@given(st.integers(0, len(LINES) - 1), st.one_of(VALUES, st.text(max_size=12)))
@settings(max_examples=150, deadline=None)
def test_a_name_replaced(at: int, name: str) -> None:
    line = LINES[at]
    indent = line[:len(line) - len(line.lstrip(" -"))]
    check("\n".join([*LINES[:at], f"{indent}{name}:{line.partition(':')[2]}", *LINES[at + 1:]]))


@given(st.integers(0, len(FULL)), st.one_of(VALUES, st.text(max_size=4),
                                             st.text(string.punctuation + " \t\n", max_size=4)))
@settings(max_examples=250, deadline=None)
def test_text_put_in(at: int, text: str) -> None:
    check(FULL[:at] + text + FULL[at:])


@given(st.integers(0, len(FULL)), st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_text_taken_out(at: int, count: int) -> None:
    check(FULL[:at] + FULL[at + count:])


@given(st.permutations(range(len(LINES))), st.integers(0, len(LINES)))
@settings(max_examples=60, deadline=None)
def test_lines_shuffled(order: list[int], count: int) -> None:
    check("\n".join(LINES[k] for k in order[:count]))


@pytest.mark.parametrize("at", [k for k, line in enumerate(LINES) if ": " in line and "- kind" not in line])
def test_a_field_doubled_is_found_at_the_second(at: int) -> None:
    text = "\n".join([*LINES[:at + 1], LINES[at], *LINES[at + 1:]])
    with pytest.raises(BadInput, match=rf"^campaign c\.yaml: line {at + 2}: [^:]+: stands twice, first in line "
                                       rf"{at + 1}; give it once$"):
        parse_campaign(text.encode(), NAME)


@given(st.integers(0, len(LINES) - 1), st.sampled_from(["\t", " \t", " ", "   ", "- ", "'", "[", "&a ", "!a "]))
@settings(max_examples=100, deadline=None)
def test_indents_broken(at: int, lead: str) -> None:
    check("\n".join([*LINES[:at], lead + LINES[at], *LINES[at + 1:]]))


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_bytes(content: bytes) -> None:
    check(content)


@given(st.integers(0, len(FULL)), st.binary(min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_bytes_put_in(at: int, content: bytes) -> None:
    check(FULL[:at].encode() + content + FULL[at:].encode())


@given(st.sampled_from("[{-?"), st.integers(1, 3000), st.sampled_from(["", "jobs: 1\n", "vdd_v: "]))
@settings(max_examples=60, deadline=None)
def test_deep_nesting(sign: str, depth: int, before: str) -> None:
    unit = {"[": "[", "{": "{a: ", "-": "- ", "?": "? "}[sign]
    check(before + unit * depth)


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
DATA = st.recursive(LEAVES, lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)), max_leaves=8)
NAMES = st.sampled_from([line.partition(":")[0] for line in LINES if line[:1].isalpha()])


@given(st.dictionaries(NAMES, DATA, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_wrong_types_as_another_program_writes_them(data: dict[str, Any]) -> None:
    check(yaml.safe_dump(data))


@given(DATA)
@settings(max_examples=100, deadline=None)
def test_wrong_types_in_a_grid(data: Any) -> None:
    for name in ("cell", "slew_s", "load_f"):
        grid: dict[str, Any] = {"cell": "inv", "slew_s": 1e-11, "load_f": 1e-15}
        check(yaml.safe_dump({"benches": [{"kind": "cell", "grid": {**grid, name: data}}]}))
