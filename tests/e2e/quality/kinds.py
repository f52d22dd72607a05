"""magika: which kind of file is this? Run by its own library, on files of pinned packages whose suffix tells the answer."""

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from magika import Magika
from tests.e2e.quality.packages import published

MODEL = "models/standard_v3_3"

_KINDS = {
    ".py": {"python"}, ".pyi": {"python"}, ".pyc": {"pythonbytecode"}, ".so": {"elf"}, ".c": {"c"}, ".h": {"c", "cpp"},
    ".hpp": {"cpp"}, ".cc": {"cpp"}, ".cuh": {"c", "cpp"}, ".cmake": {"cmake"}, ".css": {"css"}, ".csv": {"csv"},
    ".rst": {"rst"}, ".proto": {"proto"}, ".gz": {"gzip"}, ".wav": {"wav"}, ".npy": {"npy"}, ".npz": {"npz", "zip"},
    ".f90": {"fortran"}, ".jinja": {"jinja"}, ".html": {"html"}, ".js": {"javascript"}, ".yaml": {"yaml"},
}  # fmt: skip
"""What magika may call files of a suffix; headers of C and C++ are told apart by nobody."""

_PACKAGES = ("numpy", "scipy", "sklearn", "torch", "onnx", "numba")
_MOST_OF_A_KIND = 10
_LEAST_BYTES = 200


def accuracy(model: Path) -> float:
    """Return the share of files whose kind is told right."""
    files = list(_files())
    folder = _beside_its_configuration(model)
    found = Magika(model_dir=folder).identify_paths(files)
    return sum(one.dl.label in _KINDS[file.suffix] for one, file in zip(found, files, strict=True)) / len(files)


def _beside_its_configuration(model: Path) -> Path:
    """Return a folder as the library loads it."""
    folder = model.parent / f"{model.stem}-magika"
    shutil.copytree(published("magika", MODEL), folder)
    shutil.copy(model, folder / "model.onnx")
    return folder


def _files() -> Iterator[Path]:
    """Yield files of each kind in the order of their names."""
    for suffix in _KINDS:
        found = (path for package in _PACKAGES for path in sorted(published(package).rglob(f"*{suffix}")))
        yield from islice((path for path in found if path.stat().st_size >= _LEAST_BYTES), _MOST_OF_A_KIND)
