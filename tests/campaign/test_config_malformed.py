"""Malformed campaign files by hand: one line each, with file, line, field, value and what is allowed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from charlib.benches import BENCHES
from charlib.campaign.config import parse_campaign
from charlib.errors import BadInput
from charlib.yaml_file import MAX_BYTES, MAX_TEXT, MAX_VALUES

CELL = "benches:\n  - bitcell_snm\n  - kind: cell\n    grid:\n"
INV = CELL + "      cell: inv\n      slew_s: 10ps\n"
TREE = "benches: [{kind: adder_tree, grid: {"
VOLTAGE = "a voltage in V such as 0.8 or '800mV', above 0 and at most 100"
SHARE = "a number, above 0 and at most 1: the largest interpolation error; 1 only measures it"
NAMES = ", ".join(BENCHES)
LIST = f"a list of benches, each a name or a mapping of kind and grid; benches: {NAMES}"
ITEM = f"a bench, or a mapping of kind and grid; benches: {NAMES}"
DEGREES = "a temperature in °C such as 25 or '25C', above -273.15 and at most 1000"
FIELDS = "preset, pdk, corner, vdd_v, temp_c, benches, mismatch, tolerance, jobs, scheduler, db, out, timeout_s, " \
         "retry_failed"
PRINTABLE = "holds a character that cannot be printed; printable ones in one line are allowed"

#: text, line, field ("" for the file), the end of the message
NOT_YAML: list[tuple[str | bytes, int, str, str]] = [
    ("", 1, "", f"'field: value' lines are needed; fields are {FIELDS}"),
    ("\n# only words\n", 1, "", f"'field: value' lines are needed; fields are {FIELDS}"),
    ("- quick\n", 1, "", f"'field: value' lines are needed; fields are {FIELDS}"),
    ("\n\nquick\n", 3, "", f"'field: value' lines are needed; fields are {FIELDS}"),
    ("3", 1, "", f"'field: value' lines are needed; fields are {FIELDS}"),
    ("preset: [quick\n", 2, "", "expected ',' or ']', but got '<stream end>')"),
    ("preset: quick\njobs: {a: 1\n", 3, "", "expected ',' or '}', but got '<stream end>')"),
    ("preset: 'quick\n", 2, "", "found unexpected end of stream)"),
    ("\tpreset: quick\n", 1, "", "that cannot start any token)"),
    ("preset: quick\n\tjobs: 1\n", 2, "", "that cannot start any token)"),
    ("preset: quick\n  jobs: 1\n", 2, "", "mapping values are not allowed here)"),
    ("benches:\n  - cell\n - bitcell_snm\n", 3, "", "expected <block end>, but found '<block sequence start>')"),
    ("preset: quick\njobs\n", 3, "", "could not find expected ':')"),
    ("preset: @quick\n", 1, "", "that cannot start any token)"),
    ("jobs: 1\npreset: `quick`\n", 2, "", "that cannot start any token)"),
    ("preset: quick]\n: x", 2, "", "not YAML (while parsing a block mapping expected <block end>, but found ':')"),
    ("preset: quick\nvdd_v: [0.8,, 0.9]\n", 2, "", "expected the node content, but found ',')"),
    ('db: "\\q"\n', 1, "", "found unknown escape character 'q')"),
    ('jobs: 1\ndb: "\\UFFFFFFFF"\n', 2, "", ")"),
    ("%YAML 1.1\n---\njobs: 1\n", 1, "", "a % directive is not allowed; remove it"),
    ("%YAML 9.9\n---\njobs: 1\n", 1, "", "found incompatible YAML document (version 1.* is required))"),
    (f"%YAML {'9' * 5000}.1\n---\n", 1, "", ")"),
    ("jobs: 1\n---\njobs: 2\n", 2, "", "a second document begins; one document is allowed"),
    ("jobs: 1\n...\nmore\n", 3, "", "expected '<document start>', but found '<scalar>')"),
    (b"jobs: 1\ndb: \xff\n", 2, "", "byte 0xff is not UTF-8; write the file as UTF-8 text"),
    (b"\x89PNG\r\n\x1a\n\x00", 1, "", "byte 0x89 is not UTF-8; write the file as UTF-8 text"),
    ("jobs: 1\n".encode("utf-16"), 1, "", "byte 0xff is not UTF-8; write the file as UTF-8 text"),
    ("jobs: 1\n\ndb: a\x00b\n", 3, "", "character U+0000 is not allowed in YAML; remove it"),
    ("jobs: 1\ndb: a\x1bb\n", 2, "", "character U+001B is not allowed in YAML; remove it"),
    ("#" * (MAX_BYTES + 1), 1, "", f"larger than {MAX_BYTES} bytes; that many at most are "
                                   "allowed"),
    # the subset
    ("corner: &c [tt]\n", 1, "corner", "anchor 'c' is not allowed; remove it"),
    ("preset: quick\ncorner: [&c tt, *c]\n", 2, "corner[0]", "anchor 'c' is not allowed; remove it"),
    ("preset: quick\ncorner: *c\n", 2, "corner", "alias 'c' is not allowed; write the value itself"),
    ("<<: *base\n", 1, "<<", "alias 'base' is not allowed; write the value itself"),
    ("<<: {jobs: 1}\n", 1, "<<", f"field '<<' is unknown; fields are {FIELDS}"),
    ("preset: !!python/name:os.system x\n", 1, "preset",
     "tag 'tag:yaml.org,2002:python/name:os.system' is not allowed; remove it"),
    ("db: !!python/object/apply:os.system [id]\n", 1, "db",
     "tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed; remove it"),
    ("jobs: !!int 3\n", 1, "jobs", "tag 'tag:yaml.org,2002:int' is not allowed; remove it"),
    ("jobs: 1\nvdd_v: [!volt 1]\n", 2, "vdd_v[0]", "tag '!volt' is not allowed; remove it"),
    ("? [a, b]\n: 1\n", 1, "", "a field's name must be plain text"),
    ("jobs: 1\n? !!str db\n: 1\n", 2, "", "a field's name must be plain text"),
    ("? |\n  jobs\n: 1\n", 1, "", f"'jobs\\n' {PRINTABLE}"),
    ("db: |\n  two\n  lines\n", 1, "db", f"'two\\nlines\\n' {PRINTABLE}"),
    ('jobs: 2\ndb: "\\e[31m"\n', 2, "db", f"'\\x1b[31m' {PRINTABLE}"),
    ('db: "\\ud800"\n', 1, "db", f"'\\ud800' {PRINTABLE}"),
    ("db: a\u202eb\n", 1, "db", f"'a\\u202eb' {PRINTABLE}"),
    (f"jobs: 1\nout: {'x' * (MAX_TEXT + 1)}\n", 2, "out", f"longer than {MAX_TEXT} characters, the most allowed"),
    ("a:\n" + "".join(f"{' ' * k}a:\n" for k in range(1, 1000)), 10, "a.a.a.a.a.a.a.a.a",
     "lies deeper than 8 levels; that many at most are allowed"),
    ("[" * 50_000, 1, "[0][0][0][0][0][0][0][0][0]", "lies deeper than 8 levels; that many at most are allowed"),
    ("jobs: 1\npdk: " + "[" * 9 + "]" * 9, 2, "pdk[0][0][0][0][0][0][0][0]",
     "lies deeper than 8 levels; that many at most are allowed"),
    ("vdd_v:\n" + "- 1\n" * (MAX_VALUES + 1), MAX_VALUES, f"vdd_v[{MAX_VALUES - 2}]",
     f"the file holds more than {MAX_VALUES} values; that many at most are allowed"),
    ("jobs: 1\njobs: 2\n", 2, "jobs", "stands twice, first in line 1; give it once"),
    ("jobs: 1\n\n'jobs': 1\n", 3, "jobs", "stands twice, first in line 1; give it once"),
    (INV + "      slew_s: 1ps\n", 7, "benches[1].grid.slew_s", "stands twice, first in line 6; give it once"),
    ("mismatch: {samples: 5,\n  samples: 6}\n", 2, "mismatch.samples", "stands twice, first in line 1; give it once"),
    ("jobs: 1\nvdd_v: 1e999\n", 2, "vdd_v", "1e999 is too large; a finite number is allowed"),
    ("vdd_v: [1,\n -1e400]\n", 2, "vdd_v[1]", "-1e400 is too large; a finite number is allowed"),
]

#: fields at the top
FIELD: list[tuple[str | bytes, int, str, str]] = [
    ("preset: quick\nvolts: 1\n", 2, "volts", f"field 'volts' is unknown; fields are {FIELDS}"),
    ("Preset: quick\n", 1, "Preset", f"field 'Preset' is unknown; fields are {FIELDS}"),
    ("jobs: 0\nvolts: 1\n", 1, "jobs", "0 is not allowed; allowed: how many workers, a whole number from 1 to 4096"),
    ("null: 1\n", 1, "null", f"field 'null' is unknown; fields are {FIELDS}"),
    ("1: 1\n", 1, "1", f"field '1' is unknown; fields are {FIELDS}"),
    ("grids: {}\n", 1, "grids", f"field 'grids' is unknown; fields are {FIELDS}"),
    ("preset:\n", 1, "preset", "nothing is not allowed; allowed: a preset: quick, pvt, full, mismatch"),
    ("preset: slow\n", 1, "preset", "'slow' is not allowed; allowed: a preset: quick, pvt, full, mismatch"),
    ("preset: [quick]\n", 1, "preset", "['quick'] is not allowed; allowed: a preset: quick, pvt, full, mismatch"),
    ("preset: QUICK\n", 1, "preset", "'QUICK' is not allowed; allowed: a preset: quick, pvt, full, mismatch"),
    ("pdk: 45\n", 1, "pdk", "45 is not allowed; allowed: a kit's name or the path of a pdk.toml; or a list of at "
                            "least one"),
    ("pdk: []\n", 1, "pdk", "[] is not allowed; allowed: a kit's name or the path of a pdk.toml; or a list of at "
                            "least one"),
    ("pdk: ''\n", 1, "pdk", "'' is not allowed; allowed: a kit's name or the path of a pdk.toml; or a list of at "
                            "least one"),
    ("pdk:\n  - a\n  - {}\n", 3, "pdk[1]", "{} is not allowed; allowed: a kit's name or the path of a pdk.toml"),
    ("pdk:\n  - a\n  - b\n  - a\n", 4, "pdk[2]", "'a' stands twice, first as pdk[0]; give each once"),
    ("corner: [tt, ss, tt]\n", 1, "corner[2]", "'tt' stands twice, first as corner[0]; give each once"),
    ("corner: [tt, 1]\n", 1, "corner[1]", "1 is not allowed; allowed: a corner of the kit such as tt"),
    ("corner: [tt,\n [ss]]\n", 2, "corner[1]", "['ss'] is not allowed; allowed: a corner of the kit such as tt"),
    ("corner: true\n", 1, "corner", "true is not allowed; allowed: a corner of the kit such as tt; or a list of at "
                                    "least one"),
    ("vdd_v: high\n", 1, "vdd_v", f"'high' is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("preset: quick\nvdd_v: [0.8, true]\n", 2, "vdd_v[1]", f"true is not allowed; allowed: {VOLTAGE}"),
    ("vdd_v: [0.8, yes]\n", 1, "vdd_v[1]", f"'yes' is not allowed; allowed: {VOLTAGE}"),
    ("vdd_v: 0\n", 1, "vdd_v", f"0 is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v: [1, -0.8]\n", 1, "vdd_v[1]", f"-0.8 is not allowed; allowed: {VOLTAGE}"),
    ("vdd_v: [1, -0.8V]\n", 1, "vdd_v[1]", f"'-0.8V' is not allowed; allowed: {VOLTAGE}"),
    ("vdd_v: [1, 1kV]\n", 1, "vdd_v[1]", f"'1kV' is not allowed; allowed: {VOLTAGE}"),
    ("vdd_v: 800ms\n", 1, "vdd_v", f"'800ms' is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v: '1e999V'\n", 1, "vdd_v", f"'1e999V' is not allowed; allowed: {VOLTAGE}"),
    ("vdd_v: .nan\n", 1, "vdd_v", f"'.nan' is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v: nan\n", 1, "vdd_v", f"'nan' is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v:\n- .inf\n", 2, "vdd_v[0]", f"'.inf' is not allowed; allowed: {VOLTAGE}"),
    ("vdd_v: 0x1\n", 1, "vdd_v", f"'0x1' is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v: 1:30\n", 1, "vdd_v", f"'1:30' is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v: 1,1\n", 1, "vdd_v", f"'1,1' is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v: 9" + "9" * 90 + "\n", 1, "vdd_v", f"is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v: [0.9, 0.8, 0.8]\n", 1, "vdd_v[2]", "0.8 stands twice, first as vdd_v[1]; give each once"),
    ("vdd_v:\n  - 0.8\n  - 800mV\n", 3, "vdd_v[1]", "0.8 stands twice, first as vdd_v[0]; give each once"),
    ("vdd_v: []\n", 1, "vdd_v", f"[] is not allowed; allowed: {VOLTAGE}; or a list of at least one"),
    ("vdd_v: {low: 0.8}\n", 1, "vdd_v", f"{{'low': 0.8}} is not allowed; allowed: {VOLTAGE}; or a list of at least "
                                        "one"),
    ("temp_c: -300\n", 1, "temp_c", f"-300 is not allowed; allowed: {DEGREES}; or a list of at least one"),
    ("temp_c: [25, 300K]\n", 1, "temp_c[1]", f"'300K' is not allowed; allowed: {DEGREES}"),
    ("temp_c: [25, 2e3C]\n", 1, "temp_c[1]", f"'2e3C' is not allowed; allowed: {DEGREES}"),
    ("temp_c:\n", 1, "temp_c", f"nothing is not allowed; allowed: {DEGREES}; or a list of at least one"),
    ("mismatch: 200\n", 1, "mismatch", "200 is not allowed; allowed: a mapping of samples and seed"),
    ("mismatch: {seed: 1}\n", 1, "mismatch.samples", "is missing; allowed: how many samples, a whole number "
                                                     "from 2 to 200000"),
    ("mismatch:\n  samples: 1\n", 2, "mismatch.samples", "1 is not allowed; allowed: how many samples, a whole "
                                                         "number from 2 to 200000"),
    ("mismatch:\n  samples: 2.5\n", 2, "mismatch.samples", "2.5 is not allowed; allowed: how many samples, a whole "
                                                           "number from 2 to 200000"),
    ("mismatch:\n  samples: 20\n  seed: -1\n", 3, "mismatch.seed", "-1 is not allowed; allowed: the random stream, a "
                                                                   "whole number from 0 to 4294967295"),
    ("mismatch:\n  samples: 20\n  sigma: 3\n", 3, "mismatch.sigma", "field 'sigma' is unknown; fields are samples, "
                                                                    "seed"),
    ("mismatch: {samples: '20'}\n", 1, "mismatch.samples", "'20' is not allowed; allowed: how many samples, a whole "
                                                           "number from 2 to 200000"),
    ("tolerance: 0\n", 1, "tolerance", f"0 is not allowed; allowed: {SHARE}"),
    ("tolerance: 1.1\n", 1, "tolerance", f"1.1 is not allowed; allowed: {SHARE}"),
    ("tolerance: 2%\n", 1, "tolerance", f"'2%' is not allowed; allowed: {SHARE}"),
    ("tolerance: '7'\n", 1, "tolerance", f"'7' is not allowed; allowed: {SHARE}"),
    ("tolerance: [0.1]\n", 1, "tolerance", f"[0.1] is not allowed; allowed: {SHARE}"),
    ("jobs: 1.5\n", 1, "jobs", "1.5 is not allowed; allowed: how many workers, a whole number from 1 to 4096"),
    ("jobs: all\n", 1, "jobs", "'all' is not allowed; allowed: how many workers, a whole number from 1 to 4096"),
    ("jobs: 010\n", 1, "jobs", "'010' is not allowed; allowed: how many workers, a whole number from 1 to 4096"),
    ("jobs: " + "9" * 99 + "\n", 1, "jobs", "... is not allowed; allowed: how many workers, a whole number from 1 to "
                                            "4096"),
    ("jobs: " + "9" * 4000 + "\n", 1, "jobs", "... is not allowed; allowed: how many workers, a whole number from 1 "
                                              "to 4096"),
    ("scheduler: host:8786\n", 1, "scheduler", "'host:8786' is not allowed; allowed: the address of a Dask scheduler "
                                               "such as tcp://host:8786"),
    ("scheduler: tcp://host\n", 1, "scheduler", "'tcp://host' is not allowed; allowed: the address of a Dask "
                                                "scheduler such as tcp://host:8786"),
    ("scheduler: tcp://a b:1\n", 1, "scheduler", "'tcp://a b:1' is not allowed; allowed: the address of a Dask "
                                                 "scheduler such as tcp://host:8786"),
    ("db: [a]\n", 1, "db", "['a'] is not allowed; allowed: a path of the database"),
    ("db: ''\n", 1, "db", "'' is not allowed; allowed: a path of the database"),
    ("out: 3\n", 1, "out", "3 is not allowed; allowed: a folder for the tables"),
    ("timeout_s: 0\n", 1, "timeout_s", "0 is not allowed; allowed: a time in s such as 1e-11 or '10ps', above 0 and "
                                       "at most 604800: the longest run"),
    ("timeout_s: 20min\n", 1, "timeout_s", "'20min' is not allowed; allowed: a time in s such as 1e-11 or '10ps', "
                                           "above 0 and at most 604800: the longest run"),
    ("timeout_s: 1Ms\n", 1, "timeout_s", "'1Ms' is not allowed; allowed: a time in s such as 1e-11 or '10ps', above "
                                         "0 and at most 604800: the longest run"),
    ("retry_failed: yes\n", 1, "retry_failed", "'yes' is not allowed; allowed: true or false: run failed points "
                                               "again"),
    ("retry_failed: 1\n", 1, "retry_failed", "1 is not allowed; allowed: true or false: run failed points again"),
]

SLEW = "a time in s such as 1e-11 or '10ps'"
#: benches and their grids
GRID: list[tuple[str | bytes, int, str, str]] = [
    ("benches: []\n", 1, "benches", f"[] is not allowed; allowed: {LIST}"),
    ("benches: {kind: cell}\n", 1, "benches", f"{{'kind': 'cell'}} is not allowed; allowed: {LIST}"),
    ("benches:\n  - cell\n  - nose\n", 3, "benches[1]", f"'nose' is not allowed; allowed: {ITEM}"),
    ("benches: [cell, 3]\n", 1, "benches[1]", f"3 is not allowed; allowed: {ITEM}"),
    ("benches: [cell, cellar]\n", 1, "benches[1]", f"'cellar' is not allowed; allowed: {ITEM}"),
    ("benches: [cell, cell]\n", 1, "benches[1]", "'cell' stands twice, first as benches[0]; give each once"),
    ("benches:\n  - cell\n  - kind: cell\n", 3, "benches[1]", "'cell' stands twice, first as benches[0]; give each "
                                                              "once"),
    ("benches:\n  - grid: {}\n", 2, "benches[0].kind", f"is missing; allowed: a bench: {NAMES}"),
    ("benches:\n  - kind: nose\n    grid: {}\n", 2, "benches[0].kind", f"'nose' is not allowed; allowed: a bench: "
                                                                       f"{NAMES}"),
    ("benches:\n  - kind: [cell]\n", 2, "benches[0].kind", f"['cell'] is not allowed; allowed: a bench: {NAMES}"),
    ("benches:\n  - kind: cell\n    gird: {}\n", 3, "benches[0].gird", "field 'gird' is unknown; fields are kind, "
                                                                       "grid"),
    ("benches:\n  - kind: cell\n    corner: tt\n", 3, "benches[0].corner",
     "field 'corner' is unknown; fields are kind, grid; corner is given at the top of the file"),
    ("benches:\n  - kind: cell\n    grid:\n", 3, "benches[0].grid", "nothing is not allowed; allowed: a mapping of "
                                                                    "coordinates to values"),
    ("benches:\n  - kind: cell\n    grid: [inv]\n", 3, "benches[0].grid", "['inv'] is not allowed; allowed: a "
                                                                          "mapping of coordinates to values"),
    (CELL + "      cell: inv\n      load_f: 1fF\n", 4, "benches[1].grid.slew_s",
     f"is missing; allowed: {SLEW}; or a list of at least one"),
    (CELL + "      cell: inv\n", 4, "benches[1].grid",
     f"slew_s, load_f are missing; allowed: slew_s: {SLEW}; or a list of at least one; load_f: a capacitance in F "
     "such as 5e-16 or '0.5fF'; or a list of at least one"),
    (INV + "      load_f: 1fF\n      rows: 3\n", 8, "benches[1].grid.rows",
     "field 'rows' is unknown; fields are cell, slew_s, load_f"),
    (INV + "      load_f: 1fF\n      vdd_v: 1\n", 8, "benches[1].grid.vdd_v",
     "field 'vdd_v' is unknown; fields are cell, slew_s, load_f; vdd_v is given at the top of the file"),
    (INV + "      load_f: [1fF, two]\n", 7, "benches[1].grid.load_f[1]",
     "'two' is not allowed; allowed: a capacitance in F such as 5e-16 or '0.5fF'"),
    (INV + "      load_f: [1fF, 2fF,\n        3pS]\n", 8, "benches[1].grid.load_f[2]",
     "'3pS' is not allowed; allowed: a capacitance in F such as 5e-16 or '0.5fF'"),
    (INV + "      load_f: [1fF, [2fF]]\n", 7, "benches[1].grid.load_f[1]",
     "['2fF'] is not allowed; allowed: a capacitance in F such as 5e-16 or '0.5fF'"),
    (INV + "      load_f: []\n", 7, "benches[1].grid.load_f",
     "[] is not allowed; allowed: a capacitance in F such as 5e-16 or '0.5fF'; or a list of at least one"),
    (INV + "      load_f: [1fF, 0]\n", 7, "benches[1].grid.load_f[1]",
     "0.0 is not allowed; 1e-20 to 1e-10 F is allowed, got 0; 2 fF are 2e-15"),
    (INV + "      load_f: [1fF, 0.002]\n", 7, "benches[1].grid.load_f[1]",
     "0.002 is not allowed; 1e-20 to 1e-10 F is allowed, got 0.002; 2 fF are 2e-15"),
    (INV.replace("10ps", "0.02") + "      load_f: 1fF\n", 6, "benches[1].grid.slew_s",
     "0.02 is not allowed; 1e-15 to 1e-06 s is allowed, got 0.02; 20 ps are 2e-11"),
    ("benches:\n- kind: cell_pair\n  grid:\n    cell: inv\n    ramp: 2e-11\n    fan_out: 1\n", 5,
     "benches[0].grid.ramp", "2e-11 is not allowed; a multiple of 0.001 to 10000 is allowed, got 2e-11"),
    ("benches:\n- kind: cell_pair\n  grid:\n    cell: inv\n    ramp: 1\n    fan_out: 2e-15\n", 6,
     "benches[0].grid.fan_out", "2e-15 is not allowed; a multiple of 0.001 to 10000 is allowed, got 2e-15"),
    (INV + "      load_f: -1fF\n", 7, "benches[1].grid.load_f",
     "-1e-15 is not allowed; 1e-20 to 1e-10 F is allowed, got -1e-15; 2 fF are 2e-15"),
    (INV + "      load_f: [1fF, 1e999F]\n", 7, "benches[1].grid.load_f[1]",
     "'1e999F' is not allowed; allowed: a finite number"),
    (INV + "      load_f: [1fF, 1e-15]\n", 7, "benches[1].grid.load_f[1]",
     "1e-15 stands twice, first as benches[1].grid.load_f[0]; give each once"),
    (CELL + "      cell: [inv,\n        nand9]\n      slew_s: 1ps\n      load_f: 1fF\n", 6, "benches[1].grid.cell[1]",
     "'nand9' is not allowed; 'nand9' is unknown; known are inv, nand2, nor2, xor2, mux2, half_adder, full_adder"),
    (CELL + "      cell: [inv, 2]\n      slew_s: 1ps\n      load_f: 1fF\n", 5, "benches[1].grid.cell[1]",
     "2 is not allowed; allowed: a text"),
    ("benches: [{kind: flip_flop, grid: {rows: 2}}]\n", 1, "benches[0].grid.rows",
     "field 'rows' is unknown; fields are none"),
    (f"{TREE}lanes: 4, bits: 2.5, activity: 1}}}}]", 1, "benches[0].grid.bits",
     "2.5 is not allowed; allowed: a whole number from 0 to 2147483647; or a list of at least one"),
    (f"{TREE}lanes: [4, '8'], bits: 2, activity: 1}}}}]", 1, "benches[0].grid.lanes[1]",
     "'8' is not allowed; allowed: a whole number from 0 to 2147483647"),
    (f"{TREE}lanes: [4, true], bits: 2, activity: 1}}}}]", 1, "benches[0].grid.lanes[1]",
     "true is not allowed; allowed: a whole number from 0 to 2147483647"),
    (f"{TREE}lanes: [4, 1], bits: 2, activity: 1}}}}]", 1, "benches[0].grid.lanes[1]",
     "1 is not allowed; must be at least 2, got 1"),
    (f"{TREE}lanes: 4, bits: 2, activity: [0.5, 1.5]}}}}]", 1, "benches[0].grid.activity[1]",
     "1.5 is not allowed; must lie in (0, 1], got 1.5"),
    (f"{TREE}lanes: 4, bits: 2, activity: 50%}}}}]", 1, "benches[0].grid.activity",
     "'50%' is not allowed; allowed: a number; or a list of at least one"),
    (f"jobs: 1\n{TREE}lanes: 1000000000, bits: 8, activity: 0.5}}}}]", 2, "benches[0].grid",
     "a run at lanes=1000000000, bits=8, activity=0.5 takes about 3.84e+17 s; allowed: timeout_s, which is 1200 s"),
    ("benches: [{kind: bitcell_access, grid: {rows: 20}}]\ntimeout_s: 1\n", 1, "benches[0].grid",
     "a run at rows=20 takes about 2 s; allowed: timeout_s, which is 1 s"),
    ("benches: [{kind: compartment, grid: {rows: 4, columns: [4, 7], operation: and, read_policy: hold}}]", 1,
     "benches[0].grid.columns[1]", "7 is not allowed; a multiple of 4 up to 64 is needed, got 7"),
    ("benches: [{kind: bitcell_mismatch, grid: {metric: write, seed: 1, sample: 1, means: [[1]]}}]", 1,
     "benches[0].grid.means", "field 'means' is unknown; fields are metric, seed, sample, defensive, spread"),
    ("benches: [{kind: bitcell_mismatch, grid: {metric: write, seed: 1, sample: 1, defensive: 0.5}}]", 1,
     "benches[0].grid.defensive", "0.5 is not allowed; a share in 0..1, below 1 only with means, got 0.5"),
]
SIZE: list[tuple[str | bytes, int, str, str]] = [
    ("preset: mismatch\nmismatch: {samples: 200000}\n", 1, "", "the campaign has 600061 points; at most 200000 are "
                                                               "allowed; give fewer values"),
    ("jobs: 1\nbenches: [bitcell_mismatch]\nmismatch: {samples: 30000}\nvdd_v: [1, 2, 3]\ntemp_c: 1\n", 2, "benches",
     "the campaign has 270000 points; at most 200000 are allowed; give fewer values"),
    ("benches: [bitcell_leakage]\ncorner: [tt]\ntemp_c: 1\nvdd_v: [" + ", ".join(f"{k}mV" for k in range(1, 9001)) +
     "]\npdk: [" + ", ".join(f"k{k}" for k in range(1, 51)) + "]", 1, "benches",
     "the campaign has 450000 points; at most 200000 are allowed; give fewer values"),
    ("mismatch: {samples: 9}\nbenches: [{kind: bitcell_mismatch, grid: {metric: write, seed: 1, sample: 1}}]\n", 1,
     "mismatch", "samples are given by the grid of bitcell_mismatch too; give either this field or that grid"),
]
CASES = NOT_YAML + FIELD + GRID + SIZE


def test_there_are_enough_cases() -> None:
    assert len({text for text, *_ in CASES}) == len(CASES) >= 80


@pytest.mark.parametrize(("text", "line", "field", "ending"), CASES,
                         ids=[f"{k}-{field or 'file'}" for k, (_, _, field, _) in enumerate(CASES)])
def test_a_malformed_file_is_one_line(text: str | bytes, line: int, field: str, ending: str) -> None:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(BadInput) as caught:
        parse_campaign(content, Path("c.yaml"))
    message = str(caught.value)
    assert message.startswith(f"campaign c.yaml: line {line}: {field + ': ' if field else ''}")
    assert message.endswith(ending)
    assert len(message.splitlines()) == 1
    assert len(message) < 700


@pytest.mark.parametrize("unit", [
    "[\n", "{a: ", "- ", "#\n", "%F\n", "? ", "&a ", "! ", "---\n", "a\n", ": ", "\\\n", "k: 1\n", '"\\x41', "a: |\n",
])
def test_a_large_hostile_file_does_not_hang(unit: str) -> None:
    """Half of the size that is allowed, of one thing: the cost of reading must stay linear in it."""
    content = (unit * (MAX_BYTES // 2 // len(unit))).encode()
    begin_s = time.process_time()
    with pytest.raises(BadInput, match=r"^campaign c\.yaml: line \d+: [^\n]+$"):
        parse_campaign(content, Path("c.yaml"))
    assert time.process_time() - begin_s < 10
