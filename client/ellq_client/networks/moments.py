"""Second moments of what enters the layers of a network: a frozen value, its messages and its file.

The file is a safetensors file: `samples` (I64), `margins` (F64) where there are any, and for each tensor of weights
`second_moments/NAME` (F64) and, where it is known, `matrix/NAME` (F64).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import FRAME_BYTES
from ellq_client.checkpoint import Checkpoint
from ellq_client.counting import counted
from ellq_client.errors import SourceError
from ellq_client.headers import StoredTensor
from ellq_client.partial_file import write_file
from ellq_client.permissions import ORDINARY
from ellq_client.sources import ArraySource
from ellq_client.uris import AnyPath

Array = npt.NDArray[np.float64]

_SECOND = "second_moments/"
_MATRIX = "matrix/"
_DTYPES = {"F64": np.dtype("<f8"), "I64": np.dtype("<i8")}


@dataclass(frozen=True, eq=False)
class TensorMoments:
    """Second moments of what enters the neurons of one tensor of weights, upper bounds of those of the samples."""

    second_moments: Array
    """(groups * fan_in,) float64: at least the mean of x_j^2 each, in the order of a neuron's weights, group after group."""
    matrix: Array | None = None
    """(groups, fan_in, fan_in) float64, symmetric: the mean of x x' and at most a little more, so that v' matrix v is never
    below the mean of (v . x)^2, whatever v is. None: too large to be kept, or not asked for."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What samples say of the inputs of all layers of one network."""

    tensors: Mapping[str, TensorMoments]
    """By name of the tensor of weights."""
    samples: int
    """How many were seen."""
    margins: Array = field(default_factory=lambda: np.zeros(0))
    """(samples,) float64: how far the largest output lies above the second largest; empty when the outputs are no vector."""

    @property
    def without_matrix(self) -> tuple[str, ...]:
        """Names of the tensors of which only the second moments are known."""
        return tuple(name for name, moments in self.tensors.items() if moments.matrix is None)

    def to_frames(self) -> Iterator[pb.Moments]:
        """Yield the messages: second moments in the first one of a tensor, at most FRAME_BYTES of its matrix in each."""
        for name, moments in self.tensors.items():
            data = (
                b"" if moments.matrix is None else np.ascontiguousarray(moments.matrix, "<f8").reshape(-1).view(np.uint8).data
            )
            yield pb.Moments(tensor=name, second_moments=moments.second_moments, matrix=bytes(data[:FRAME_BYTES]))
            for start in range(FRAME_BYTES, len(data), FRAME_BYTES):
                yield pb.Moments(tensor=name, matrix=bytes(data[start : start + FRAME_BYTES]))

    def save(self, path: AnyPath) -> None:
        """Write everything to one file, replacing what was there in one instant. Errors: OutputError."""
        arrays: dict[str, Any] = {"samples": np.array(self.samples, np.int64)}
        if self.margins.size:
            arrays["margins"] = self.margins
        for name, moments in self.tensors.items():
            arrays[_SECOND + name] = moments.second_moments
            if moments.matrix is not None:
                arrays[_MATRIX + name] = moments.matrix
        write_file(Path(path), ArraySource(arrays).frames(), permissions=ORDINARY)

    @classmethod
    def load(cls, path: AnyPath) -> "Calibration":
        """Return what `save` wrote. Errors: SourceError when the file cannot be read, or is another."""
        with Checkpoint(Path(path)) as file:
            arrays = {tensor.name: _array(file, tensor) for tensor in file.tensors}
        if "samples" not in arrays or arrays["samples"].size != 1:
            raise SourceError(f"{path} holds no calibration: it does not tell the number of samples")
        tensors = {
            name.removeprefix(_SECOND): TensorMoments(values, arrays.get(_MATRIX + name.removeprefix(_SECOND)))
            for name, values in arrays.items()
            if name.startswith(_SECOND)
        }
        return cls(tensors, int(arrays["samples"]), arrays.get("margins", np.zeros(0)))

    def __repr__(self) -> str:
        of = f"{counted(len(self.tensors), 'tensor')}, {counted(self.samples, 'sample')}"
        return f"Calibration({of}, without_matrix={self.without_matrix})"


def _array(file: Checkpoint, tensor: StoredTensor) -> Any:
    if tensor.dtype not in _DTYPES:
        raise SourceError(f"{file.path} holds no calibration: {tensor.name!r} is {tensor.dtype}")
    data = file.read(tensor.begin, tensor.length_bytes)
    return np.frombuffer(data, _DTYPES[tensor.dtype]).reshape(tensor.shape)
