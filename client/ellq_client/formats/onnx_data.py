"""The numbers of an ONNX tensor, wherever the model keeps them: as raw bytes, in typed fields, or in a file beside it."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ellq_client.arrays import SAFETENSORS_DTYPES, weight_bytes
from ellq_client.errors import SourceError
from ellq_client.formats.onnx_graph import Site
from ellq_client.headers import stored_bytes

_FIELDS = {"float32": "float_data", "float64": "double_data"}
"""Typed fields that hold the numbers themselves; those of two bytes or less are kept as their bits, in int32_data."""


@dataclass(frozen=True)
class Range:
    """Bytes of a file beside the model."""

    path: Path
    offset: int
    length: int


def dtype_of(tensor: onnx.TensorProto) -> str | None:
    """Return the dtype in the words of safetensors; None when it has none."""
    try:
        word = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
    except (KeyError, ValueError):
        return None
    return SAFETENSORS_DTYPES.get(word)


def is_external(tensor: onnx.TensorProto) -> bool:
    """Return whether the numbers are in another file."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def bytes_of(site: Site) -> memoryview:
    """Return the numbers of a tensor that are in the model. Errors: SourceError."""
    tensor = site.tensor
    if tensor.HasField("raw_data"):
        return memoryview(tensor.raw_data)
    try:
        return weight_bytes(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise SourceError(f"tensor {site.name!r} does not hold together: {error}") from error


def put_back(tensor: onnx.TensorProto, data: memoryview) -> None:
    """Put other numbers where those of a tensor in the model are."""
    if tensor.HasField("raw_data"):
        tensor.raw_data = bytes(data)
        return
    word = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
    field: Any = getattr(tensor, _FIELDS.get(word, "int32_data"))
    bits: Any = np.frombuffer(data, word if word in _FIELDS else f"<u{stored_width(tensor)}")
    del field[:]
    field.extend(bits.tolist())


def stored_width(tensor: onnx.TensorProto) -> int:
    """Return the bytes of one number."""
    return stored_bytes(dtype_of(tensor) or "", (1,))


def external_range(site: Site, folder: Path) -> Range:
    """Return where the numbers are. Errors: SourceError for any place but a file in the folder of the model, or below it."""
    told = {one.key: one.value for one in site.tensor.external_data}
    location, where = told.get("location", ""), f"external data of {site.name!r}"
    path = folder / location
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        size_bytes = path.stat().st_size if path.is_file() else -1
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL; RuntimeError: links in a circle, before 3.13
        raise SourceError(f"{where} would be at {location!r}, which is no place: {error}") from error
    if not location or Path(location).is_absolute() or not inside:
        raise SourceError(f"{where} would be at {location!r}; allowed is a file in the folder of the model, no link out of it")
    dtype = dtype_of(site.tensor)
    try:
        offset = int(told.get("offset", "0"))
        needed = int(told["length"]) if dtype is None else stored_bytes(dtype, tuple(site.tensor.dims))
        length = int(told.get("length", needed))
    except (ValueError, KeyError) as error:
        raise SourceError(f"{where} has no place in {location!r}: {error}") from error
    if not 0 <= offset <= offset + length <= size_bytes or length != needed:
        held = f"it has {size_bytes}" if size_bytes >= 0 else "there is no such file"
        raise SourceError(f"{where} would be {length} bytes at {offset} of {location!r}, of which it needs {needed}; {held}")
    return Range(path, offset, length)


def move(tensor: onnx.TensorProto, location: str, *, offset: int, length: int) -> None:
    """Say that the numbers of a tensor are in this file, in the folder of the model."""
    del tensor.external_data[:]  # a checksum, too, which would be that of the old numbers
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def has_sizes(tensor: onnx.TensorProto) -> bool:
    """Return whether the shape is one."""
    return all(size >= 0 for size in tensor.dims) and prod(tensor.dims) < 1 << 60
