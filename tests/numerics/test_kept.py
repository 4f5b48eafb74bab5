"""Kernels in the cache: what was planted, cut, lent or linked there is compiled again, never run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from system.numerics import kept, native

needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler here")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
STRANGER = 65534
#: runs when it is loaded, and leaves a file to show for it
PLANTED = '''#include <cstdio>
#include <cstdlib>
__attribute__((constructor)) static void run() { fclose(fopen(getenv("PLANTED"), "w")); }
'''
ASK = ("import numpy as np; from system.numerics import native; "
       "print(native.library() is not None, native.codes_of(np.array([1.5], np.float32))[0])")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A kept file; its bytes do not matter here."""
    folder = tmp_path / "cache" / "native"
    assert kept.usable_folder(folder) == ""
    made = folder / "made.so"
    made.write_bytes(b"\x7fELF" * 1000)
    kept.keep(made, folder / "kernels-1.so")
    return folder / "kernels-1.so"


def link(library: Path) -> None:
    library.rename(library.with_name("elsewhere.so"))
    library.symlink_to("elsewhere.so")


def folder_in_place(library: Path) -> None:
    library.unlink()
    library.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: os.truncate(path, 1999),
    "empty": lambda path: os.truncate(path, 0),
    "a byte changed": lambda path: path.write_bytes(b"\x7fELG" + path.read_bytes()[4:]),
    "replaced": lambda path: path.write_bytes(b"\x7fELF planted"),
    "writable by others": lambda path: path.chmod(0o722),
    "its hash writable by others": lambda path: Path(f"{path}.sha256").chmod(0o622),
    "without its hash": lambda path: Path(f"{path}.sha256").unlink(),
    "a hash of no text": lambda path: Path(f"{path}.sha256").write_bytes(b"\xff"),
    "a link": link,
    "a folder": folder_in_place,
    "not there": lambda path: path.unlink(),
}


def test_what_was_kept_is_run(library: Path) -> None:
    assert kept.is_whole(library)
    assert library.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_since_is_not(library: Path, what: str) -> None:
    CHANGES[what](library)
    assert not kept.is_whole(library)


@needs_root
@pytest.mark.parametrize("suffix", ["", ".sha256"])
def test_what_another_user_owns_is_not(library: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(f"{library}{suffix}", STRANGER, STRANGER)
    assert not kept.is_whole(library)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)  # root's is taken by everyone
    assert not kept.is_whole(library)
    os.chown(f"{library}{suffix}", 0, 0)
    assert kept.is_whole(library)


def test_a_folder_of_ones_own_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "native").mkdir()
    (tmp_path / "native").chmod(0o777)
    assert kept.usable_folder(tmp_path / "native") == ""
    assert (tmp_path / "native").stat().st_mode & 0o777 == 0o755


@needs_root
def test_a_strangers_folder_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "native").mkdir()
    os.chown(tmp_path / "native", STRANGER, STRANGER)
    assert kept.usable_folder(tmp_path / "native") == "another user owns it"


def test_a_link_or_file_in_the_folders_place_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "file").write_text("")
    assert kept.usable_folder(tmp_path / "link") == "it is no folder"
    assert kept.usable_folder(tmp_path / "file") == "File exists"


def kernels(cache: Path, planted: Path) -> subprocess.CompletedProcess[str]:
    """A process that asks for the kernels and rounds 1.5, whose code is 16320."""
    return subprocess.run([sys.executable, "-W", "always", "-c", ASK], capture_output=True, text=True, check=False,
                          env={**os.environ, "HIMC_CACHE": str(cache), "PLANTED": str(planted)})


@needs_compiler
def test_planted_and_cut_kernels_are_compiled_again(tmp_path: Path) -> None:
    cache, ran = tmp_path / "cache", tmp_path / "ran"
    assert kernels(cache, ran).stdout == "True 16320\n"
    (own,) = (cache / "native").glob("*.so")
    source, planted = tmp_path / "planted.cpp", tmp_path / "planted.so"
    source.write_text(PLANTED)
    subprocess.run([str(native.compiler()), "-shared", "-fPIC", "-o", str(planted), str(source)], check=True)
    shutil.copy(planted, own)
    assert kernels(cache, ran).stdout == "True 16320\n"
    os.truncate(own, 20_000)
    done = kernels(cache, ran)
    assert (done.returncode, done.stdout) == (0, "True 16320\n")
    assert not ran.exists()
    assert kept.is_whole(own)


@needs_compiler
def test_a_cache_that_cannot_be_written_still_gives_kernels(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where the folder would be")
    done = kernels(tmp_path / "cache", tmp_path / "ran")
    assert (done.returncode, done.stdout) == (0, "True 16320\n")
    assert "cannot keep them (Not a directory), so they are compiled for this process alone" in done.stderr
