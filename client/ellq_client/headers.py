"""The header of a safetensors stream: its tensors and where they lie, read without trust."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import prod
from typing import Any, cast

from ellq.v1.safetensors import DTYPE_BITS, LENGTH_BYTES, METADATA
from ellq_client.counting import counted
from ellq_client.errors import SourceError
from ellq_client.mistaken import PREFIX_BYTES, mistaken

HEADER_BYTES_MAX = 100_000_000
"""Of JSON text; the safetensors library reads no more either."""

_DIMENSIONS_MAX = 32
_SIZE_MAX = 2**63 - 1


def stored_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the length of a tensor in a file; 0 for a dtype that this version does not know."""
    return prod(shape) * DTYPE_BITS.get(dtype, 0) // 8


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as the header describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte, from the start of the file."""
    end: int
    """Byte after the last."""

    @property
    def length_bytes(self) -> int:
        """Length in bytes."""
        return self.end - self.begin


@dataclass(frozen=True)
class Header:
    """What is known of a header, its length bytes included."""

    length_bytes: int
    sha256: str
    tensors: tuple[StoredTensor, ...]
    """In offset order."""
    text: bytes = field(default=b"", repr=False)
    """Empty where only the server has read it."""


def header_length(prefix: bytes | bytearray) -> int:
    """Return the length of a header, its length bytes included, from those bytes."""
    return LENGTH_BYTES + int.from_bytes(prefix[:LENGTH_BYTES], "little")


def fitting_header_length(prefix: bytes | bytearray, *, size_bytes: int, name: str) -> int:
    """Return `header_length` when a file of `size_bytes` can hold such a header. Errors: SourceError.

    The length bytes are enough; with PREFIX_BYTES of `mistaken` an error can tell a file that was cut off from another one.
    """
    if len(prefix) < LENGTH_BYTES:
        told = "it is empty" if not size_bytes else f"it ends after {counted(size_bytes, 'byte')}"
        raise SourceError(f"{name} is no safetensors file: {told}")
    length = header_length(prefix)
    too_long = length > LENGTH_BYTES + HEADER_BYTES_MAX
    if (length > size_bytes or too_long) and (what := _mistaken(prefix)):
        raise SourceError(f"{name} is no safetensors file: it is {what}")
    if length > size_bytes:
        told = f"its header would be {length} bytes long, the file has {size_bytes}"
        raise SourceError(f"{name} is no safetensors file, or cut off in its header: {told}")
    if too_long:
        told = f"its header would be {length} bytes long; allowed are {HEADER_BYTES_MAX}"
        raise SourceError(f"{name} is no safetensors file: {told}")
    return length


def read_header(text: bytes, *, size_bytes: int, name: str) -> Header:
    """Return what a header tells of a stream of `size_bytes`. Errors: SourceError."""
    tensors = parse_header(text, size_bytes=size_bytes, name=name)
    return Header(len(text), sha256(text).hexdigest(), tensors, text)


def parse_header(header: bytes, *, size_bytes: int, name: str) -> tuple[StoredTensor, ...]:
    """Return the tensors of a safetensors header in offset order, which must fill `size_bytes` exactly. Errors: SourceError."""
    try:
        entries: dict[str, Any] = json.loads(header[LENGTH_BYTES:].decode())
        if b"\\u" in header:
            check_text(entries)
        entries.pop(METADATA, None)
        tensors = [_read_entry(key, entry, len(header)) for key, entry in entries.items()]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        what = _mistaken(header[:PREFIX_BYTES])
        told = f"it is {what}" if what else f"its header does not hold together ({type(error).__name__}: {error})"
        raise SourceError(f"{name} is no safetensors file: {told}") from error
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    place = len(header)
    for tensor in tensors:
        known = tensor.dtype in DTYPE_BITS  # of a newer dtype only the offsets can be believed
        if tensor.begin != place or (known and tensor.length_bytes != stored_bytes(tensor.dtype, tensor.shape)):
            raise SourceError(f"{name} is no safetensors file: tensor {tensor.name!r} has the wrong place or length")
        place = tensor.end
    if place > size_bytes:
        raise SourceError(f"{name} is cut off: {size_bytes} of {place} bytes")
    if place < size_bytes:
        raise SourceError(f"{name} is no safetensors file: {counted(size_bytes - place, 'byte')} after its last tensor")
    return tuple(tensors)


def check_text(value: Any) -> None:
    """Refuse JSON with halves of surrogate pairs, which escapes can spell but UTF-8 cannot hold. Errors: ValueError."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        around = error.object[max(error.start - 20, 0) : error.end]
        raise ValueError(f"it has half of a surrogate pair, which is no character, at the end of {around!a}") from error


def unique_entries(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; plain readers would take the last of equal names without a word. Errors: ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"it names {twice!r} twice")
    return found


def _mistaken(prefix: bytes | bytearray) -> str | None:
    """Return what a file is instead of safetensors; None where it begins like one.

    The lengths of honest headers begin with the same bytes as many another file does, so those alone tell nothing.
    """
    plausible = header_length(prefix) <= LENGTH_BYTES + HEADER_BYTES_MAX
    if plausible and prefix[LENGTH_BYTES:PREFIX_BYTES] in (b"{", b""):
        return None
    return mistaken(prefix)


def _read_entry(name: str, entry: Any, header_bytes: int) -> StoredTensor:
    """Return the tensor of an entry. Errors: ValueError, and whatever comes of an entry that is something else."""
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise ValueError(f"tensor {name!r} has dtype {dtype!r:.80}; allowed is a name")
    if not _all_sizes(shape) or len(shape) > _DIMENSIONS_MAX:
        allowed = f"a list of at most {_DIMENSIONS_MAX} integers from 0 to 2^63-1"
        raise ValueError(f"tensor {name!r} has shape {shape!r:.80}; allowed is {allowed}")
    if not _all_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has data_offsets {offsets!r:.80}; allowed are two integers from 0 to 2^63-1")
    return StoredTensor(name, dtype, tuple(shape), offsets[0] + header_bytes, offsets[1] + header_bytes)


def _all_sizes(values: Any) -> bool:
    # a bool is an int, too, but no size
    known = cast("list[object]", values) if isinstance(values, list) else [None]
    return all(type(value) is int and 0 <= value <= _SIZE_MAX for value in known)
