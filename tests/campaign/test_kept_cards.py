"""Pruned cards in the cache: used while every file they came from is the same to the last byte, and they are too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up_kit
import pytest

from charlib.pdk.user_kit import read_user_kit


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path / "cache"))
    made: Path = made_up_kit.make(tmp_path / "kit", confidential=False)
    return made


def cards(toml: Path) -> str:
    """Of a kit that is read anew, as another process reads it."""
    return str(read_user_kit(toml).cards("tt"))


def kept(tmp_path: Path) -> Path:
    (place,) = (tmp_path / "cache" / "pruned").glob("*.json")
    return place


def test_a_card_of_equal_size_and_time_is_noticed(toml: Path, tmp_path: Path) -> None:
    before, hashed = cards(toml), read_user_kit(toml).sha256
    card = next(file for file in toml.parent.rglob("*") if file.is_file() and "vsat=1.1e5" in file.read_text())
    found = card.stat()
    card.write_text(card.read_text().replace("vsat=1.1e5", "vsat=1.3e5"))
    os.utime(card, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert (card.stat().st_size, card.stat().st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    after = cards(toml)
    assert ("vsat=1.1e5" in before, "vsat=1.3e5" in before) == (True, False)
    assert "vsat=1.3e5" in after
    assert read_user_kit(toml).sha256 != hashed


def test_what_is_kept_is_used(toml: Path, tmp_path: Path) -> None:
    first, stamp = cards(toml), kept(tmp_path).stat().st_mtime_ns
    assert cards(toml) == first
    assert kept(tmp_path).stat().st_mtime_ns == stamp


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a digit": lambda held: held.update(text=held["text"].replace("k1=0.4", "k1=0.5")),
    "a command": lambda held: held.update(text=held["text"] + ".control\nshell touch ran\n.endc\n"),
    "no checksum": lambda held: held.pop("sha256"),
    "no files": lambda held: held.update(files=[]),
    "files of numbers": lambda held: held.update(files=[[1, 2]]),
    "text of numbers": lambda held: held.update(text=7),
}


@pytest.mark.parametrize("what", CHANGES)
def test_kept_cards_that_were_changed_are_made_again(toml: Path, tmp_path: Path, what: str) -> None:
    first = cards(toml)
    held = json.loads(kept(tmp_path).read_text())
    CHANGES[what](held)
    kept(tmp_path).write_text(json.dumps(held))
    assert cards(toml) == first


@pytest.mark.parametrize("content", ["", "[]", "null", "[" * 100_000, '{"files": '])
def test_kept_cards_that_are_no_record_are_made_again(toml: Path, tmp_path: Path, content: str) -> None:
    first = cards(toml)
    kept(tmp_path).write_text(content)
    assert cards(toml) == first


def test_a_cache_that_cannot_be_written_only_costs_time(toml: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    first = cards(toml)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path / "file"))
    assert cards(toml) == first
