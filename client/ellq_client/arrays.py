"""Arrays as safetensors writes them, and back: numpy always, torch when the caller brings it.

torch is never imported here: it is looked up among the modules that the caller has already imported.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ellq_client.errors import OutputError, SourceError
from ellq_client.header_bytes import end_to_end, header_text, with_length

SAFETENSORS_DTYPES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""dtype names of numpy (with ml_dtypes) and torch, which agree, to those of safetensors; in the order of its files."""

_FILE_ORDER = {dtype: place for place, dtype in enumerate(SAFETENSORS_DTYPES.values())}
_HEADER_ALIGNMENT = 8


def dtype_name(array: Any, *, name: str) -> str:
    """Return the safetensors dtype of an array. Errors: SourceError naming the tensor."""
    dtype = getattr(array, "dtype", None)
    word = str(getattr(dtype, "name", dtype)).removeprefix("torch.")  # numpy's dtypes have a name, torch's are one
    if word not in SAFETENSORS_DTYPES:
        kind = type(array).__name__
        raise SourceError(f"tensor {name!r}: a {kind} of dtype {word} is nothing that safetensors can hold")
    return SAFETENSORS_DTYPES[word]


def sorted_for_file(arrays: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Return the arrays in the order of the safetensors library: widest dtype first, then by name, so that all are aligned."""
    ranked: list[tuple[int, str]] = []
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise SourceError(f"tensor names are text, got {name!r}")
        ranked.append((file_order(dtype_name(array, name=name)), name))
    return [(name, arrays[name]) for _, name in sorted(ranked)]


def file_order(dtype: str) -> int:
    """Return the place of a dtype among those of a file."""
    return _FILE_ORDER[dtype]


def safetensors_header(arrays: Mapping[str, Any]) -> bytes:
    """Return the length and JSON header of a file with these arrays in this order, padded to eight bytes."""
    return header_of((name, dtype_name(array, name=name), array.shape, array.nbytes) for name, array in arrays.items())


def header_of(tensors: Iterable[tuple[str, str, Iterable[int], int]]) -> bytes:
    """Return the same from name, dtype, shape and length in bytes of every tensor."""
    entries = ((name, {"dtype": dtype, "shape": list(shape)}, length) for name, dtype, shape, length in tensors)
    text = header_text(end_to_end(entries))
    return with_length(text + b" " * (-len(text) % _HEADER_ALIGNMENT))


def weight_bytes(array: Any) -> memoryview:
    """Return an array's bytes, little-endian and row-major; without a copy where they already lie so."""
    if _is_torch(array):
        torch = sys.modules["torch"]
        flat = array.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy().data
    contiguous = np.ascontiguousarray(array)
    if contiguous.dtype.byteorder == ">" or (contiguous.dtype.byteorder == "=" and sys.byteorder == "big"):
        contiguous = contiguous.astype(contiguous.dtype.newbyteorder("<"))
    return contiguous.reshape(-1).view(np.uint8).data


def array_like(original: Any, buffer: memoryview) -> Any:
    """Return an array of the original's kind, dtype and shape (and torch device) over these bytes."""
    if _is_torch(original):
        torch = sys.modules["torch"]
        flat = torch.frombuffer(buffer, dtype=original.dtype) if len(buffer) else torch.empty(0, dtype=original.dtype)
        return flat.reshape(original.shape).to(original.device)
    return np.frombuffer(buffer, dtype=original.dtype.newbyteorder("<")).reshape(original.shape)


def numpy_array(buffer: bytearray | memoryview, *, dtype: str, shape: tuple[int, ...], name: str) -> Any:
    """Return a numpy array over these bytes. Errors: OutputError when numpy knows no such dtype, or no such shape."""
    flat = np.frombuffer(buffer, dtype=numpy_dtype(dtype, name=name))
    try:
        return flat.reshape(shape)
    except ValueError as error:  # it multiplies the sizes beside a zero, too
        raise OutputError(f"tensor {name!r} has shape {list(shape)}, which numpy cannot hold: {error}") from error


def numpy_dtype(dtype: str, *, name: str) -> Any:
    """Return the numpy dtype of a safetensors dtype. Errors: OutputError naming the tensor."""
    words = [word for word, known in SAFETENSORS_DTYPES.items() if known == dtype]
    if words and not words[0].startswith(("bfloat16", "float8")):
        return np.dtype(words[0]).newbyteorder("<")
    try:
        import ml_dtypes
    except ImportError as error:
        raise OutputError(f"tensor {name!r}: numpy needs the package ml_dtypes for {dtype}; or name an output file") from error
    if not words:
        raise OutputError(f"tensor {name!r}: numpy has no dtype for {dtype}; name an output file instead")
    return np.dtype(getattr(ml_dtypes, words[0]))


def _is_torch(array: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)
