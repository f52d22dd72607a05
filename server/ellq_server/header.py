"""The safetensors header: the one parser for what callers send, and it trusts nothing.

Format: https://huggingface.co/docs/safetensors. A header is refused unless the tensors fill the payload exactly, without gap or
overlap, so that every byte of the stream belongs to exactly one tensor. Tensors may be listed in any order.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ellq.v1.safetensors import DTYPE_BITS, LENGTH_BYTES, METADATA, PACKED_FORMAT
from ellq_server.refusals import MalformedWeights, TooLarge, shorten

LONGEST_NAME_BYTES = 4096
MOST_DIMENSIONS = 32
LARGEST_OFFSET = 2**63 - 1


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as the header describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte, counted from the end of the header."""
    end: int
    """Byte after the last."""

    @property
    def length_bytes(self) -> int:
        """Bytes of the tensor."""
        return self.end - self.begin


@dataclass(frozen=True)
class Header:
    """A header that holds together."""

    raw: bytes
    """As it came, the eight length bytes included."""
    tensors: tuple[TensorEntry, ...]
    """In offset order."""

    @property
    def payload_bytes(self) -> int:
        """Bytes after the header."""
        return self.tensors[-1].end if self.tensors else 0


def header_length(prefix: bytes, *, limit: int) -> int:
    """Return the length of the JSON text from the first eight bytes of the stream."""
    length = int.from_bytes(prefix, "little")
    if length + LENGTH_BYTES > limit:
        message = f"the header claims {length} bytes; this server reads at most {limit - LENGTH_BYTES}"
        raise TooLarge(
            f"{message} (is this a safetensors file? it begins with {prefix!r})", reason="HEADER_TOO_LARGE", field="data"
        )
    if length < 2:
        raise _malformed(f"the header claims {length} bytes; a JSON object has at least 2")
    return length


def parse_header(prefix: bytes, text: bytes, *, most_tensors: int) -> Header:
    """Return the header, or raise MalformedWeights saying what is wrong with which tensor.

    Errors: MalformedWeights; TooLarge (TOO_MANY_TENSORS).
    """
    document = _parse_json(text, most_tensors=most_tensors)
    _check_metadata(document.pop(METADATA, {}))
    if len(document) > most_tensors:
        message = f"the header lists {len(document)} tensors; this server takes at most {most_tensors} in one stream"
        raise TooLarge(message, reason="TOO_MANY_TENSORS", field="data")
    tensors = sorted((_entry(name, value) for name, value in document.items()), key=lambda entry: (entry.begin, entry.end))
    _check_contiguous(tensors)
    return Header(raw=prefix + text, tensors=tuple(tensors))


def _parse_json(text: bytes, *, most_tensors: int) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise _malformed(f"the header starts with byte 0x{text[0]:02x}; a JSON object starts with '{{'")
    if max(text.count(b"["), text.count(b"{")) > 4 * most_tensors + 64:
        # An honest header has two lists and an object a tensor, and names may hold brackets too. The parser holds the
        # interpreter while it builds millions of empty lists, and health checks wait.
        message = f"the header opens more lists and objects than {most_tensors} tensors have"
        raise TooLarge(f"{message}; this server takes at most that many in one stream", reason="TOO_MANY_TENSORS", field="data")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"the header is not UTF-8 at byte {error.start}") from error
    try:
        return json.loads(decoded, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _malformed("the header nests too deeply; three levels are enough for any safetensors header") from error
    except ValueError as error:  # JSONDecodeError, and integers of thousands of digits
        raise _malformed(f"the header is not JSON: {shorten(str(error))}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise _malformed(f"the header has the key {shorten(repr(twice))} more than once")
    return found


def _refuse_constant(text: str) -> None:
    raise _malformed(f"the header contains {text}, which is not JSON")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _malformed(f"{METADATA} must map strings to strings")
    if metadata.get("format") == PACKED_FORMAT:
        # its tensors of bytes would pass through untouched, as if all had gone well
        raise _malformed(f"{METADATA} says format {PACKED_FORMAT}: the weights are packed; unpack them first (ellq unpack)")


def _entry(name: str, value: Any) -> TensorEntry:
    quoted = shorten(repr(name))
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _malformed(f"tensor {quoted} must have exactly dtype, shape and data_offsets")
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise _malformed(f"the tensor name {shorten(ascii(name))} holds a lone surrogate") from error
    if length > LONGEST_NAME_BYTES:
        raise _malformed(f"the tensor name {quoted} has {length} bytes; at most {LONGEST_NAME_BYTES} are allowed")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _malformed(f"tensor {quoted} has dtype {shorten(repr(dtype))}; known are {', '.join(DTYPE_BITS)}")
    if not _all_sizes(shape) or len(shape) > MOST_DIMENSIONS:
        allowed = f"a list of at most {MOST_DIMENSIONS} integers from 0 to 2^63-1"
        raise _malformed(f"tensor {quoted} has shape {shorten(repr(shape))}; allowed is {allowed}")
    if not _all_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        allowed = "two integers begin <= end from 0 to 2^63-1"
        raise _malformed(f"tensor {quoted} has data_offsets {shorten(repr(offsets))}; allowed is {allowed}")
    _check_length(quoted, dtype, shape, offsets)
    return TensorEntry(name=name, dtype=dtype, shape=tuple(shape), begin=offsets[0], end=offsets[1])


def _all_sizes(values: Any) -> bool:
    # bool is an int in Python but not in a shape
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= LARGEST_OFFSET for value in values)


def _check_length(quoted: str, dtype: str, shape: list[int], offsets: list[int]) -> None:
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits > 8 * LARGEST_OFFSET:
        raise _malformed(f"tensor {quoted} of shape {shorten(repr(shape))} and dtype {dtype} overflows 2^63 bytes")
    if bits != 8 * (offsets[1] - offsets[0]):
        needed = f"shape {shorten(repr(shape))} and dtype {dtype} need {bits / 8:g} bytes"
        raise _malformed(f"tensor {quoted}: {needed}, data_offsets {offsets} give {offsets[1] - offsets[0]}")


def _check_contiguous(tensors: list[TensorEntry]) -> None:
    if tensors and tensors[0].begin != 0:
        raise _malformed(f"the first tensor {shorten(repr(tensors[0].name))} begins at byte {tensors[0].begin}, not 0: a gap")
    for before, after in pairwise(tensors):
        if after.begin != before.end:
            what = "overlaps" if after.begin < before.end else "leaves a gap after"
            names = f"tensor {shorten(repr(after.name))} {what} {shorten(repr(before.name))}"
            raise _malformed(f"{names}: it begins at byte {after.begin}, the other ends at {before.end}")


def _malformed(message: str) -> MalformedWeights:
    return MalformedWeights(message, field="data")
