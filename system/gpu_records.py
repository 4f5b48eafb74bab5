"""What is known of GPUs: cards with their peaks, and measured training runs, from CSV files checked when read.

The shipped `gpu_rows.csv` and a file that `himc gpu measure` writes have one format. A row's `use` says what it is
for: `time` (scaled to other cards), `power_fraction`, `measured` (power and time of one run), or `none`.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from charlib.errors import BadInput

PRECISIONS = ("fp32", "tf32", "amp", "fp16", "bf16")
USES = ("time", "power_fraction", "measured", "none")
LAYOUTS = ("", "contiguous", "channels_last")
#: precisions whose products run on the tensor cores, from 16-bit operands
HALF = ("amp", "fp16", "bf16")
#: how the source begins of a row that the command wrote
MEASURED_BY = "himc gpu measure"


@dataclass(frozen=True)
class Card:
    """Peaks of one card. `tensor_flops`: dense, 16-bit operands, FP32 accumulation."""

    gpu: str
    title: str
    cores: int
    boost_hz: float
    tensor_flops: float
    bytes_per_s: float
    tdp_w: float
    source: str

    @property
    def fp32_flops(self) -> float:
        """One multiply-add a core and cycle."""
        return 2 * self.cores * self.boost_hz

    def flops(self, precision: str) -> float:
        """Peak of the units that a precision runs on; TF32 runs at half the 16-bit rate."""
        if precision == "tf32":
            return self.tensor_flops / 2
        return self.tensor_flops if precision in HALF else self.fp32_flops


@dataclass(frozen=True)
class Measurement:
    """One training run on some card. What was not recorded is None; what belongs to measured rows comes last."""

    gpu: str
    network: str
    precision: str
    input_px: int
    batch: int
    images_per_s: float
    power_w: float | None  #: mean of the board, idle power included
    board_power_w: float  #: the board's limit (TDP)
    utilisation: float | None  #: share of time in which a kernel ran
    bytes_per_s: float  #: peak of the card's memory
    use: str
    source: str
    width: float = 1.0
    layout: str = ""
    idle_w: float | None = None  #: just before, CUDA context open, no work
    window_s: float | None = None
    energy_error: float | None = None  #: relative, from the energy counter's step
    sm_clock_hz: float | None = None
    temp_c: float | None = None
    power_limit_w: float | None = None

    @property
    def by_himc(self) -> bool:
        """Whether `himc gpu measure` says that it made the row."""
        return self.source.startswith(MEASURED_BY)

    @property
    def energy_j_per_image(self) -> float | None:
        """Idle power included."""
        return None if self.power_w is None else self.power_w / self.images_per_s

    @property
    def active_j_per_image(self) -> float | None:
        """Idle power subtracted."""
        if self.power_w is None or self.idle_w is None:
            return None
        return (self.power_w - self.idle_w) / self.images_per_s


def wider(precision: str) -> str:
    """Why rows of a precision stand apart from an arithmetic of 16-bit products; "" where they do not."""
    return "" if precision in HALF else f"{precision.upper()} stands apart"


def card_slug(title: str) -> str:
    """A card's name as options take it: 'NVIDIA GeForce RTX 3060' is rtx3060."""
    plain = re.sub(r"nvidia|geforce|tesla|quadro|\bsxm\d?\b|\b\d+ ?gb\b", "", title.lower())
    return re.sub(r"[^a-z0-9]", "", plain)


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError
    return value


def _whole(text: str) -> int:
    """Also as a spreadsheet may write it, 64.0."""
    value = float(text)
    if not (value.is_integer() and value >= 1):
        raise ValueError
    return int(value)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _name(text: str) -> str:
    if not card_slug(text):
        raise ValueError
    return text


def _one_of(values: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        word = text.strip().lower()
        if word not in values:
            raise ValueError
        return word

    return check


_NUMBER, _COUNT, _SHARE = "a number above 0", "a whole number of at least 1", "a number from 0 to 1"
_TEXT: tuple[Callable[[str], Any], str] = (_name, "a name with a letter or digit")
#: column → (reader, what is allowed)
_COLUMNS: dict[str, tuple[Callable[[str], Any], str]] = {
    "gpu": _TEXT, "network": _TEXT, "source": _TEXT, "title": _TEXT,
    "precision": (_one_of(PRECISIONS), ", ".join(PRECISIONS)), "use": (_one_of(USES), ", ".join(USES)),
    "layout": (_one_of(LAYOUTS), "contiguous, channels_last or nothing"),
    **dict.fromkeys(("input_px", "batch", "cores"), (_whole, _COUNT)),
    **dict.fromkeys(("images_per_s", "power_w", "board_power_w", "bytes_per_s", "width", "window_s", "sm_clock_hz",
                     "power_limit_w", "boost_hz", "tensor_flops", "tdp_w"), (_positive, _NUMBER)),
    **dict.fromkeys(("utilisation", "energy_error"), (_share, _SHARE)),
    **dict.fromkeys(("idle_w", "temp_c"), (_finite, "a number")),
}
#: may be empty, although the record has no default for them
_MAY_BE_EMPTY = ("power_w", "utilisation")
#: column -> what a shipped card has in its place
OF_THE_CARD = {"board_power_w": "tdp_w", "bytes_per_s": "bytes_per_s"}
COLUMNS = tuple(field.name for field in fields(Measurement))
#: columns that a file must have; what may be empty may be left out
REQUIRED = tuple(field.name for field in fields(Measurement)
                 if field.default is MISSING and field.name not in (*_MAY_BE_EMPTY, *OF_THE_CARD))
#: a mean over a run may be so far above the rating, which meters and boards keep to a few percent
MOST_OVER_RATING = 1.1
#: no busy board draws less: even a starved one draws a fifth of its rating
LEAST_OF_RATING, LEAST_POWER_W = 0.02, 1.0
#: column → (least, most, unit). Memories move 1e10 (one DDR3 channel) to 8e12 bytes a second (HBM3e), boards draw 5
#: to 1400 W
_SPANS = {"bytes_per_s": (1e9, 1e14, "in bytes a second; 272 GB/s is 2.72e11"),
          "board_power_w": (1.0, 5000.0, "in watts"), "power_limit_w": (1.0, 5000.0, "in watts")}
_SEPARATORS = {";": "semicolons", "\t": "tabs"}


def _lines(text: str, where: str) -> tuple[list[int], list[str]]:
    """What is neither comment nor blank, with the numbers that an editor shows; BadInput where nothing is."""
    kept = [(number, line) for number, line in enumerate(text.split("\n"), start=1)
            if line.strip() and not line.startswith("#")]
    if not kept:
        raise BadInput(f"{where} {'holds comments alone' if text.strip() else 'is empty'}; its first line names the "
                       f"columns, needed are {', '.join(REQUIRED)}")
    return [number for number, _ in kept], [line for _, line in kept]


def _check_head(head: Sequence[str], line: str, where: str, needed: Iterable[str], known: Iterable[str]) -> None:
    """BadInput for another separator than the comma, a missing column or an unknown one."""
    for mark, name in _SEPARATORS.items():
        if mark in line and "," not in line:
            raise BadInput(f"{where}: the header has {name} and no comma; columns are parted by commas and numbers "
                           "have a point; save the file as CSV with commas")
    for name in needed:
        if name not in head:
            raise BadInput(f"{where}: column '{name}' is missing; needed are {', '.join(needed)}")
    for name in head:
        if name not in known:
            raise BadInput(f"{where}: column '{name}' is not known; allowed are {', '.join(known)}")


def _rows(text: str, where: str, needed: Iterable[str], known: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """(file and line, checked values) of each row; an empty cell is left out."""
    numbers, lines = _lines(text, where)
    reader = csv.DictReader(lines)
    try:
        head = reader.fieldnames or []
        records = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        number = numbers[min(reader.reader.line_num, len(numbers)) - 1]
        raise BadInput(f"{where}, line {number}: not CSV ({error}); save the file as CSV with commas, a row a line"
                       ) from None
    _check_head(head, lines[0], f"{where}, line {numbers[0]}", needed, known)
    found = []
    for place, row in records:
        line = f"{where}, line {numbers[place - 1]}"
        if None in row or None in row.values():
            raise BadInput(f"{line}: {len(head)} values are needed, one a column; quote a value that "
                           "holds a comma")
        values = {}
        for name, cell in row.items():
            read, allowed = _COLUMNS[name]
            if cell == "" and name not in needed:
                continue
            try:
                values[name] = read(cell)
            except ValueError:
                raise BadInput(f"{line}: {name}: '{cell}' is not allowed; give {allowed}") from None
        found.append((line, values))
    return found


def _measurements(text: str, where: str) -> list[tuple[str, Measurement]]:
    """(file and line, row), each row checked by itself."""
    found = []
    for line, values in _rows(text, where, REQUIRED, COLUMNS):
        taken = _from_card(values, line)
        row = Measurement(**{**dict.fromkeys(_MAY_BE_EMPTY), **taken, **values})
        if row.use in ("measured", "power_fraction") and row.power_w is None:
            raise BadInput(f"{line}: power_w: empty; a row whose use is '{row.use}' needs a number above 0")
        _plausible(row, line)
        found.append((line, row))
    return found


def _from_card(values: dict[str, Any], where: str) -> dict[str, float]:
    """What a shipped card's peaks say, where the row does not."""
    missing = [name for name in OF_THE_CARD if name not in values]
    card = CARDS.get(card_slug(values["gpu"])) if missing else None
    if missing and card is None:
        raise BadInput(f"{where}: {missing[0]}: empty, and '{values['gpu']}' is no shipped card; give {_NUMBER}")
    return {name: getattr(card, OF_THE_CARD[name]) for name in missing}


def _plausible(row: Measurement, where: str) -> None:
    """BadInput for what no card can do, most often a slip of units."""
    for name, (least, most, unit) in _SPANS.items():
        value = getattr(row, name)
        if value is not None and not least <= value <= most:
            raise BadInput(f"{where}: {name}: {value:g} is not plausible; give {least:g} to {most:g}, {unit}")
    if row.power_w is not None:
        least_w = max(LEAST_POWER_W, LEAST_OF_RATING * row.board_power_w)
        if row.power_w < least_w:
            raise BadInput(f"{where}: power_w: {row.power_w:g} W is too little for a busy board rated at "
                           f"{row.board_power_w:g} W; give at least {least_w:g}, the mean of the run in watts")
        if row.idle_w is not None and not 0 <= row.idle_w < row.power_w:
            raise BadInput(f"{where}: idle_w: {row.idle_w:g} W is not below the run's power_w, {row.power_w:g} W; "
                           "give the board's power before the run")
        limit = max(row.board_power_w, row.power_limit_w or 0.0)
        if row.power_w > MOST_OVER_RATING * limit:
            raise BadInput(f"{where}: power_w: {row.power_w:g} W is above the board's rating, {limit:g} W; give the "
                           "mean of the run, or the raised limit as power_limit_w")


def _agree(rows: Sequence[tuple[str, Measurement]]) -> None:
    """BadInput for a run that stands twice, and for a card with two ratings or two bandwidths."""
    runs: dict[tuple[Any, ...], str] = {}
    peaks: dict[tuple[str, str], tuple[str, float]] = {}
    for where, row in rows:
        run = (card_slug(row.gpu), row.network, row.width, row.input_px, row.batch, row.precision, row.layout,
               row.use, row.power_limit_w)
        first = runs.setdefault(run, where)
        if first != where:
            raise BadInput(f"{where}: {row.gpu}, {row.precision} {row.network} at {row.input_px} px, batch "
                           f"{row.batch}, stands on {_line(first)} too; one row a setting is allowed; remove one")
        for name in OF_THE_CARD:
            value = getattr(row, name)
            line, said = peaks.setdefault((run[0], name), (where, value))
            if said != value:
                raise BadInput(f"{where}: {name}: {value:g} of {row.gpu}, but {said:g} on {_line(line)}; one value a "
                               "card is allowed; mend one, or give two cards two names")


def _line(where: str) -> str:
    """'line 5' of a place in a file."""
    return where.rsplit(", ", 1)[1]


def read_rows(path: str | Path) -> list[tuple[str, Measurement]]:
    """(file and line, row) of one's own file, as `himc gpu measure` writes it; BadInput says line, column and what is
    allowed."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"gpu_rows: {path} cannot be read ({error}); give a CSV file that 'himc gpu measure' wrote"
                       ) from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without its mark is valid UTF-8, with zeros
        raise BadInput(f"gpu_rows: {path} is no UTF-8 text; save it as UTF-8 (in a spreadsheet: CSV UTF-8, commas)")
    found = _measurements(text, f"gpu_rows: {path}")
    if not found:
        raise BadInput(f"gpu_rows: {path} holds no row; give a CSV file that 'himc gpu measure' wrote")
    _agree(found)
    return found


@lru_cache(maxsize=1)
def measurements() -> tuple[Measurement, ...]:
    """The shipped record of runs."""
    return tuple(row for _, row in _measurements(_shipped("gpu_rows.csv"), "gpu_rows.csv"))


def _shipped(name: str) -> str:
    return resources.files("system.data").joinpath(name).read_text(encoding="utf-8")


def _cards() -> dict[str, Card]:
    names = [field.name for field in fields(Card)]
    found = [Card(**values) for _, values in _rows(_shipped("gpu_cards.csv"), "gpu_cards.csv", names, names)]
    return {card.gpu: card for card in found}


#: the shipped cards, by the name that options take
CARDS = _cards()
