"""Safetensors files of random weights, written faster than random numbers can be drawn."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np

Dtype = Literal["F32", "BF16"]

ITEM_BYTES = {"F32": 4, "BF16": 2}

_DRAWN = (1 << 22) + 15
"""Weights that are drawn; odd, so that rows of a usual length do not repeat one another."""

_COLUMNS = 4096

USUAL_TENSOR_BYTES = 64_000_000
"""Of the largest matrices of most networks."""


@dataclass(frozen=True)
class Tensor:
    """A tensor to be written."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Length in the file."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


def matrices(dtype: Dtype, size_bytes: int, *, tensor_bytes: int) -> Iterator[Tensor]:
    """Yield matrices of at most `tensor_bytes` and together about `size_bytes`; never none."""
    weights = max(1, size_bytes // ITEM_BYTES[dtype])
    most = max(1, tensor_bytes // ITEM_BYTES[dtype])
    for number in range(-(-weights // most)):
        size = min(most, weights - number * most)
        columns = min(_COLUMNS, size)
        yield Tensor(f"layer{number}.weight", dtype, (size // columns, columns))


def write_checkpoint(path: Path, tensors: Sequence[Tensor]) -> Path:
    """Write the tensors in this order, each with other weights, and return the path."""
    entries, end = {}, 0
    for tensor in tensors:
        begin, end = end, end + tensor.size_bytes
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, tensor in enumerate(tensors):
            file.writelines(_pieces(tensor, start=number * 1_000_003 % _DRAWN))
        file.flush()
        os.fsync(file.fileno())  # or the disk would be busy with it while others are timed
    return path


def shards(dtypes: Sequence[Dtype], size_bytes: int, *, count: int, largest_bytes: int) -> Iterator[list[Tensor]]:
    """Yield the tensors of every file of a checkpoint, dtypes in turn; the first file has tensors of about the largest size."""
    for number in range(count):
        tensor_bytes = largest_bytes if number == 0 else min(largest_bytes, USUAL_TENSOR_BYTES)
        yield list(matrices(dtypes[number % len(dtypes)], size_bytes // count, tensor_bytes=tensor_bytes))


def shortage(folder: Path, size_bytes: int) -> str | None:
    """Return what there is to say when so much does not fit onto the folder's disk; None when it does."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes >= size_bytes:
        return None
    return f"needs {size_bytes / 1e9:.1f} GB on the disk, {free_bytes / 1e9:.1f} GB are free"


def _pieces(tensor: Tensor, *, start: int) -> Iterator[memoryview]:
    """Yield the tensor's bytes, from the drawn weights over and over."""
    drawn = _drawn(tensor.dtype)
    remaining = prod(tensor.shape)
    while remaining:
        piece = drawn[start : start + remaining]
        remaining -= len(piece)
        start = 0
        yield piece.data.cast("B")


@cache
def _drawn(dtype: Dtype) -> np.ndarray:
    """Return normal weights of a usual scale; bfloat16 as the upper half of a float32."""
    weights = np.random.default_rng(2026).standard_normal(_DRAWN, np.float32) * np.float32(0.02)
    return weights if dtype == "F32" else np.ascontiguousarray(weights.view(np.uint16)[1::2])
