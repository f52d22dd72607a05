"""safetensors files written by hand: with headers that no library writes."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.corpus.cases import Make

WEIGHT = np.random.default_rng(8).standard_t(3, size=(4, 8)).astype(np.float32)
"""A matrix of 128 bytes, in most cases the one tensor that is compressed."""


def entry(dtype: str, shape: tuple[object, ...], begin: object, end: object, **more: object) -> dict[str, object]:
    """Return one tensor of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


ENTRY = entry("F32", (4, 8), 0, 128)


def stream(text: str | bytes, payload: bytes = WEIGHT.tobytes(), *, length: int | None = None) -> bytes:
    """Return a file of this header; `length` is what it claims to have."""
    header = text.encode() if isinstance(text, str) else text
    return (len(header) if length is None else length).to_bytes(8, "little") + header + payload


def with_header(entries: object, payload: bytes = WEIGHT.tobytes()) -> Make:
    """Return what writes a file with these entries."""
    return with_bytes(stream(json.dumps(entries, ensure_ascii=False), payload))


def with_text(text: str | bytes, payload: bytes = WEIGHT.tobytes(), *, length: int | None = None) -> Make:
    """Return what writes a file with this text for a header."""
    return with_bytes(stream(text, payload, length=length))


def with_bytes(data: bytes) -> Make:
    """Return what writes exactly this."""

    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def with_tensors(tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]], **metadata: str) -> Make:
    """Return what writes tensors (dtype, shape, bytes), one behind the other, whatever their dtypes."""
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    place = 0
    for name, (dtype, shape, data) in tensors.items():
        entries[name] = entry(dtype, shape, place, place + len(data))
        place += len(data)
    return with_header(entries, b"".join(data for _, _, data in tensors.values()))


def weight(array: np.ndarray = WEIGHT) -> tuple[str, tuple[int, ...], bytes]:
    """Return a tensor of float32."""
    return "F32", array.shape, array.astype(np.float32).tobytes()
