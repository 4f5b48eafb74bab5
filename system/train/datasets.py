"""Image sets for training: scikit-learn's digits, CIFAR-10 as its authors pack it, a folder of pictures.

Every set gives standardised float32 images, mean 0 and deviation 1 in each channel over (at most the first thousand
of) the training images. What is read from disk is checked before it is used, and nothing in a file is run.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from charlib.errors import BadInput

Tensor = torch.Tensor
Images = NDArray[np.float32]  #: (n, channels, height, width)
#: images over which mean and deviation are taken
SAMPLE = 1000
TEST_SHARE = 0.2
DIGITS_PX, CIFAR_PX, FOLDER_PX = 8, 32, 224
CIFAR_RECORD = 1 + 3 * CIFAR_PX * CIFAR_PX
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FORMS = "digits, cifar10:DIR or imagefolder:DIR"


@dataclass(frozen=True)
class Dataset:
    """Images by index: `read_train` and `read_test` turn an int64 array of indices into raw images (n, c, h, w)."""

    name: str
    classes: int
    channels: int
    image_px: int
    train_labels: Tensor
    test_labels: Tensor
    read_train: Callable[[NDArray[np.int64]], Images]
    read_test: Callable[[NDArray[np.int64]], Images]
    mean: Tensor  #: (channels, 1, 1)
    deviation: Tensor

    @property
    def train_count(self) -> int:
        return len(self.train_labels)

    @property
    def test_count(self) -> int:
        return len(self.test_labels)

    def train_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(images, labels) of training images."""
        return self._standard(self.read_train(indices.numpy())), self.train_labels[indices]

    def test_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """(images, labels) of held-out images."""
        return self._standard(self.read_test(indices.numpy())), self.test_labels[indices]

    def _standard(self, images: Images) -> Tensor:
        return (torch.from_numpy(np.ascontiguousarray(images)) - self.mean) / self.deviation


def open_dataset(text: str, image_px: int | None, seed: int) -> Dataset:
    """The set that `text` names, at its own image size or another; a set without a held-out part is split by seed.

    BadInput for a name, folder or file that is not as it should be.
    """
    kind, _, folder = text.partition(":")
    if kind == "digits" and not folder:
        return _digits(image_px or 4 * DIGITS_PX, seed)
    if kind in ("cifar10", "imagefolder"):
        if not folder:
            raise BadInput(f"dataset: {kind} needs its folder, such as {kind}:data; allowed are {FORMS}")
        if not Path(folder).is_dir():
            raise BadInput(f"dataset: {folder} is not a folder; give the folder that holds the set")
        if kind == "cifar10":
            return _cifar10(Path(folder), image_px or CIFAR_PX)
        return _folder(Path(folder), image_px or FOLDER_PX, seed)
    raise BadInput(f"dataset: {FORMS} are allowed, got '{text}'")


def augment(images: Tensor, generator: torch.Generator, shift: int, flip: bool) -> Tensor:
    """Move every image by up to `shift` pixels each way (zeros come in), and mirror half of them."""
    count, _, height, width = images.shape
    if shift:
        padded = functional.pad(images, (shift,) * 4)
        down, right = torch.randint(0, 2 * shift + 1, (2, count), generator=generator).tolist()
        images = torch.stack([padded[i, :, y:y + height, x:x + width]
                              for i, (y, x) in enumerate(zip(down, right, strict=True))])
    if flip:
        mirrored = torch.rand(count, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def _make(name: str, classes: int, image_px: int, labels: tuple[Any, Any],
          read_train: Callable[[NDArray[np.int64]], Images],
          read_test: Callable[[NDArray[np.int64]], Images]) -> Dataset:
    train, test = (torch.as_tensor(np.asarray(part), dtype=torch.int64) for part in labels)
    if not len(train) or not len(test):
        raise BadInput(f"dataset: {name} has {len(train)} training and {len(test)} test images; at least one of "
                       "each is needed")
    sample = read_train(np.arange(min(SAMPLE, len(train)))).astype(np.float64)
    mean, deviation = sample.mean(axis=(0, 2, 3)), sample.std(axis=(0, 2, 3))
    if not (deviation > 0).all():
        raise BadInput(f"dataset: the images of {name} are all of one colour")
    statistics = [torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (mean, deviation)]
    return Dataset(name, classes, sample.shape[1], image_px, train, test, read_train, read_test, *statistics)


def _in_memory(name: str, train: Images, train_labels: Any, test: Images, test_labels: Any, classes: int) -> Dataset:
    return _make(name, classes, train.shape[-1], (train_labels, test_labels), lambda i: train[i], lambda i: test[i])


def _resized(images: NDArray[Any], own_px: int, image_px: int) -> Images:
    """Whole multiples repeat pixels, so that a small image stays what it is; anything else is refused."""
    if image_px < own_px or image_px % own_px:
        raise BadInput(f"image_px: this set's images enlarge to multiples of {own_px} px, got {image_px}")
    times = image_px // own_px
    return np.repeat(np.repeat(images, times, axis=-2), times, axis=-1).astype(np.float32)


def _digits(image_px: int, seed: int) -> Dataset:
    """1,797 images of 8 × 8 (UCI optical digits), a fifth held out."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = _resized(data.images[:, None], DIGITS_PX, image_px)
    order = np.random.default_rng(seed).permutation(len(images))
    test = int(len(images) * TEST_SHARE)
    images, labels = images[order], data.target[order]
    return _in_memory("digits", images[test:], labels[test:], images[:test], labels[:test], 10)


def _cifar10(folder: Path, image_px: int) -> Dataset:
    """60,000 images of 32 × 32 (Krizhevsky, 2009), python or binary version, in the folder or a level below."""
    for version, found in (("", _cifar_pickle), (".bin", _cifar_binary)):
        hits = [path.parent for path in sorted([*folder.glob(f"test_batch{version}"),
                                                *folder.glob(f"*/test_batch{version}")])]
        if hits:
            parts = [found(hits[0] / f"{name}{version}") for name in (*(f"data_batch_{k}" for k in range(1, 6)),
                                                                      "test_batch")]
            train, labels = (np.concatenate([p[i] for p in parts[:-1]]) for i in (0, 1))
            return _in_memory("cifar10", _resized(train, CIFAR_PX, image_px), labels,
                              _resized(parts[-1][0], CIFAR_PX, image_px), parts[-1][1], 10)
    raise BadInput(f"dataset: {folder} holds no test_batch or test_batch.bin; unpack CIFAR-10's python or binary "
                   "archive there")


class _PlainUnpickler(pickle.Unpickler):
    """Reads NumPy arrays and plain data; any other class in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if name in ("_reconstruct", "ndarray", "dtype") and module.split(".")[0] == "numpy":
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def _cifar_pickle(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        batch = _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images, labels = np.asarray(batch[b"data"], dtype=np.uint8), np.asarray(batch[b"labels"], dtype=np.int64)
        return images.reshape(-1, 3, CIFAR_PX, CIFAR_PX), _checked(path, labels, len(images))
    except FileNotFoundError:
        raise BadInput(f"dataset: {path} does not exist; unpack CIFAR-10's archive again") from None
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, ImportError) as error:
        raise BadInput(f"dataset: {path} is not a batch of CIFAR-10 ({error}); unpack the archive again") from None


def _cifar_binary(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except FileNotFoundError:
        raise BadInput(f"dataset: {path} does not exist; unpack CIFAR-10's archive again") from None
    if not len(data) or len(data) % CIFAR_RECORD:
        raise BadInput(f"dataset: {path} is not whole: its size is no multiple of {CIFAR_RECORD} bytes")
    rows = data.reshape(-1, CIFAR_RECORD)
    labels = _checked(path, rows[:, 0].astype(np.int64), len(rows))
    return rows[:, 1:].reshape(-1, 3, CIFAR_PX, CIFAR_PX), labels


def _checked(path: Path, labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if len(labels) != count or not ((labels >= 0) & (labels < 10)).all():
        raise BadInput(f"dataset: {path}: {count} images need {count} labels from 0 to 9")
    return labels


def _folder(folder: Path, image_px: int, seed: int) -> Dataset:
    """A folder a class, or train/ and test/ (or val/) with a folder a class in each. Images are read as needed."""
    held = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)
    if (folder / "train").is_dir() and held is not None:
        names = _class_names(folder / "train")
        train, test = _files(folder / "train", names), _files(held, names)
    else:
        names = _class_names(folder)
        every = _files(folder, names)
        order = np.random.default_rng(seed).permutation(len(every))
        cut = int(len(every) * TEST_SHARE)
        train, test = [every[i] for i in order[cut:]], [every[i] for i in order[:cut]]

    def reader(files: list[tuple[Path, int]]) -> Callable[[NDArray[np.int64]], Images]:
        return lambda indices: np.stack([_picture(files[i][0], image_px) for i in indices])

    return _make(f"imagefolder {folder.name}", len(names), image_px,
                 ([label for _, label in train], [label for _, label in test]), reader(train), reader(test))


def _class_names(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(names) < 2:
        raise BadInput(f"dataset: {folder} needs at least two folders, one for each class, got {len(names)}")
    return names


def _files(folder: Path, names: list[str]) -> list[tuple[Path, int]]:
    found = [(path, label) for label, name in enumerate(names)
             for path in sorted((folder / name).rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise BadInput(f"dataset: {folder} holds no pictures ({', '.join(SUFFIXES)}) in the folders of its classes")
    return found


def _picture(path: Path, image_px: int) -> Images:
    """The middle square of a picture, (3, image_px, image_px), 0 to 255."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            square = ImageOps.fit(picture.convert("RGB"), (image_px, image_px), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError) as error:
        raise BadInput(f"dataset: {path} is not a picture ({type(error).__name__}); remove it or mend it") from None
    return np.asarray(square, dtype=np.float32).transpose(2, 0, 1)
