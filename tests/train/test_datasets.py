"""Image sets: what is read, how it is standardised and moved, and what a bad folder says."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch

from charlib.errors import BadInput
from system.train.datasets import Dataset, augment, open_dataset

pytestmark = pytest.mark.train


def check(data: Dataset, train: int, test: int, px: int) -> None:
    assert (data.train_count, data.test_count, data.image_px) == (train, test, px)
    images, labels = data.train_batch(torch.arange(train))
    assert images.shape == (train, data.channels, px, px)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert labels.max() < data.classes
    assert images.mean(dim=(0, 2, 3)).abs().max() < 1e-2
    assert (images.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-2


def test_digits_are_split_by_seed() -> None:
    data = open_dataset("digits", None, 0)
    check(data, 1438, 359, 32)
    assert data.classes == 10
    same, other = open_dataset("digits", 16, 0), open_dataset("digits", 16, 1)
    assert torch.equal(same.test_labels, data.test_labels)
    assert not torch.equal(other.test_labels, data.test_labels)
    small, large = same.test_batch(torch.tensor([5]))[0], data.test_batch(torch.tensor([5]))[0]
    assert torch.allclose(large[..., ::2, ::2], small, atol=1e-5)  # enlarged without interpolation


@pytest.fixture
def cifar(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Six batches of 20 images in both versions, in folders python/ and binary/; (folder, images, labels)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 20, 3072), dtype=np.uint8)
    labels = rng.integers(0, 10, (6, 20))
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    for version in ("python", "binary"):
        (tmp_path / version).mkdir()
    for k, name in enumerate(names):
        batch = {b"data": images[k], b"labels": labels[k].tolist(), b"batch_label": b"made up"}
        (tmp_path / "python" / name).write_bytes(pickle.dumps(batch, protocol=2))
        rows = np.concatenate([labels[k][:, None].astype(np.uint8), images[k]], axis=1)
        (tmp_path / "binary" / f"{name}.bin").write_bytes(rows.tobytes())
    return tmp_path, images, labels


@pytest.mark.parametrize("version", ["python", "binary"])
def test_cifar10_is_read_in_both_versions(cifar: tuple[Path, np.ndarray, np.ndarray], version: str) -> None:
    folder, images, labels = cifar
    data = open_dataset(f"cifar10:{folder / version}", None, 0)
    check(data, 100, 20, 32)
    assert np.array_equal(data.test_labels, labels[5])
    got = data.test_batch(torch.arange(20))[0] * data.deviation + data.mean
    assert np.allclose(got, images[5].reshape(20, 3, 32, 32), atol=1e-3)


def test_a_pickle_that_would_run_something_is_refused(cifar: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
                                                      ) -> None:
    folder = cifar[0] / "python"
    trap = tmp_path / "trap"
    (folder / "data_batch_3").write_bytes(b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR.")
    with pytest.raises(BadInput, match=r"dataset: .*data_batch_3 is not a batch of CIFAR-10 \((os|posix).system\)"):
        open_dataset(f"cifar10:{folder}", None, 0)
    assert not trap.exists()


def test_a_torn_binary_batch_is_refused(cifar: tuple[Path, np.ndarray, np.ndarray]) -> None:
    file = cifar[0] / "binary" / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"data_batch_2\.bin is not whole"):
        open_dataset(f"cifar10:{cifar[0] / 'binary'}", None, 0)


def pictures(folder: Path, counts: dict[str, int]) -> None:
    from PIL import Image

    rng = np.random.default_rng(1)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(folder / name / f"{k}.png")


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    pictures(tmp_path, {"cat": 12, "dog": 8})
    data = open_dataset(f"imagefolder:{tmp_path}", 24, 0)
    check(data, 16, 4, 24)
    assert data.classes == 2
    assert sorted(torch.cat([data.train_labels, data.test_labels]).tolist()) == [0] * 12 + [1] * 8


def test_a_folder_with_its_own_split(tmp_path: Path) -> None:
    pictures(tmp_path / "train", {"cat": 6, "dog": 6})
    pictures(tmp_path / "val", {"cat": 1, "dog": 2})
    data = open_dataset(f"imagefolder:{tmp_path}", 16, 0)
    check(data, 12, 3, 16)
    assert data.test_labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(("text", "px", "message"), [
    ("mnist", None, "dataset: digits, cifar10:DIR or imagefolder:DIR are allowed, got 'mnist'"),
    ("cifar10", None, "cifar10 needs its folder"), ("cifar10:/no/where", None, "is not a folder"),
    ("digits", 30, "image_px: this set's images enlarge to multiples of 8 px, got 30"),
    ("imagefolder:.", None, "."),
])
def test_what_is_not_a_set_is_refused(text: str, px: int | None, message: str, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=message):
        open_dataset(text, px, 0)


def test_an_empty_folder_and_a_file_that_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs at least two folders, one for each class, got 0"):
        open_dataset(f"imagefolder:{tmp_path}", 16, 0)
    with pytest.raises(BadInput, match="holds no test_batch"):
        open_dataset(f"cifar10:{tmp_path}", None, 0)
    pictures(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "cat" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(BadInput, match=r"0.png is not a picture"):
        open_dataset(f"imagefolder:{tmp_path}", 16, 0).test_batch(torch.arange(1))


def test_augmentation_moves_and_mirrors_each_image_for_itself() -> None:
    images = torch.randn(40, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    moved = augment(images, torch.Generator().manual_seed(4), 2, flip=True)
    assert torch.equal(moved, augment(images, torch.Generator().manual_seed(4), 2, flip=True))
    seen = set()
    for before, after in zip(images[:, 0], moved[:, 0], strict=True):
        for mirrored in (False, True):
            for down in range(-2, 3):
                for right in range(-2, 3):
                    there = before.flip(1) if mirrored else before
                    part = after[max(down, 0):9 + min(down, 0), max(right, 0):9 + min(right, 0)]
                    own = there[max(-down, 0):9 + min(-down, 0), max(-right, 0):9 + min(-right, 0)]
                    if torch.equal(part, own):
                        seen.add((mirrored, down, right))
    assert len(seen) > 20
    assert {m for m, _, _ in seen} == {False, True}
    assert torch.equal(augment(images, torch.Generator(), 0, flip=False), images)
