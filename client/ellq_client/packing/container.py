"""The safetensors file around packed tensors.

Every tensor of the dense file is one of U8 under its own name, of shape [1, length]: no loader finds the shape it looks for.
`__metadata__` has

    format          "ellq-packed": loaders that look at it refuse
    version         "1"
    header          the JSON text of the dense file, byte for byte
    header_sha256   digest of the header of the dense file, its length bytes included, in hexadecimal

A part is blocks, then the SHA-256 of the tensor's dense bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ellq.v1.safetensors import LENGTH_BYTES, METADATA, PACKED_FORMAT
from ellq_client.checkpoint import Checkpoint
from ellq_client.counting import counted, grouped
from ellq_client.errors import OutputError, SourceError
from ellq_client.header_bytes import end_to_end, header_text, with_length
from ellq_client.headers import HEADER_BYTES_MAX, StoredTensor, parse_header, unique_entries
from ellq_client.packing.blocks import overhead_bytes
from ellq_client.packing.words import BLOCK_WORDS, kind_of

FORMAT = PACKED_FORMAT
VERSION = "1"
DIGEST_BYTES = 32

_ALIGNMENT = 8


@dataclass(frozen=True)
class Description:
    """What the header of a packed file says."""

    header: bytes
    """That of the dense file, its length bytes included."""
    size_bytes: int
    """Length of the dense file."""
    tensors: tuple[StoredTensor, ...]
    """Of the dense file, in offset order."""
    parts: tuple[StoredTensor, ...]
    """Where each of them lies in the packed one."""


def is_packed(header: bytes) -> bool:
    """Return whether a header, its length bytes included, is that of a packed file."""
    if FORMAT.encode() not in header:
        return False
    try:
        metadata = json.loads(header[LENGTH_BYTES:])[METADATA]
        return metadata["format"] == FORMAT
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def blocks_of(tensor: StoredTensor) -> int:
    """Return how many blocks a tensor has; one without bytes has none."""
    return -(-tensor.length_bytes // (BLOCK_WORDS * kind_of(tensor.dtype).width))


def stored_bytes_max(tensor: StoredTensor) -> int:
    """Return the most that a part takes, whatever is in the tensor."""
    return tensor.length_bytes + blocks_of(tensor) * overhead_bytes(kind_of(tensor.dtype)) + DIGEST_BYTES


def packed_header(dense: bytes, tensors: Sequence[StoredTensor], lengths: Sequence[int], *, room_bytes: int = 0) -> bytes:
    """Return the header of a packed file whose parts have these lengths, filled up with spaces to at least `room_bytes`.

    Errors: OutputError when safetensors libraries would not read it.
    """
    text = dense[LENGTH_BYTES:].decode()
    metadata = {"format": FORMAT, "version": VERSION, "header": text, "header_sha256": sha256(dense).hexdigest()}
    parts = zip((tensor.name for tensor in tensors), lengths, strict=True)
    entries = end_to_end((name, {"dtype": "U8", "shape": [1, length]}, length) for name, length in parts)
    told = header_text({METADATA: metadata, **entries})
    told += b" " * max(room_bytes - LENGTH_BYTES - len(told), -len(told) % _ALIGNMENT)
    if len(told) > HEADER_BYTES_MAX:
        raise OutputError(f"packed, the header would have {len(told)} bytes; safetensors allows {HEADER_BYTES_MAX}")
    return with_length(told)


def describe(container: Checkpoint) -> Description:
    """Return what the header of a packed file says. Errors: SourceError when it contradicts itself."""
    name = str(container.path)
    try:
        metadata = json.loads(container.header[LENGTH_BYTES:], object_pairs_hook=unique_entries)[METADATA]
        if metadata.get("version") != VERSION:
            raise SourceError(f"{name} is packed in version {metadata.get('version')!r}; this ellq reads {VERSION!r}")
        text, digest = metadata["header"].encode(), metadata["header_sha256"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SourceError(f"{name} is no packed file: its header does not hold together ({error})") from error
    header = with_length(text)
    if sha256(header).hexdigest() != digest:
        raise SourceError(f"{name} is damaged: the header of the dense file does not have its digest")
    size_bytes, tensors = dense_tensors(header, name=f"{name}, unpacked,")
    _check_parts(tensors, container.tensors, name)
    return Description(header, size_bytes, tensors, container.tensors)


def dense_tensors(header: bytes, *, name: str) -> tuple[int, tuple[StoredTensor, ...]]:
    """Return the length of a dense file and its tensors, by its header alone. Errors: SourceError."""
    try:
        entries: dict[str, Any] = json.loads(header[LENGTH_BYTES:])
        ends = [int(entry["data_offsets"][1]) for key, entry in entries.items() if key != METADATA]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise SourceError(f"{name} is no safetensors file: its header does not hold together ({error})") from error
    size_bytes = len(header) + max(ends, default=0)
    return size_bytes, parse_header(header, size_bytes=size_bytes, name=name)


def _check_parts(tensors: Sequence[StoredTensor], parts: Sequence[StoredTensor], name: str) -> None:
    if [tensor.name for tensor in tensors] != [part.name for part in parts]:
        raise SourceError(f"{name} is no packed file: its parts are not those of its tensors, in their order")
    for tensor, part in zip(tensors, parts, strict=True):
        if part.dtype != "U8" or part.shape != (1, part.length_bytes):
            raise SourceError(f"{name} is no packed file: {part.name!r} is {part.dtype} of shape {list(part.shape)}")
        if tensor.length_bytes % kind_of(tensor.dtype).width:
            raise SourceError(f"{name} is no packed file: {part.name!r} is no whole number of words")
        least = blocks_of(tensor) * overhead_bytes(kind_of(tensor.dtype)) + DIGEST_BYTES
        if not least <= part.length_bytes <= stored_bytes_max(tensor):
            told = f"{counted(part.length_bytes, 'byte')}, allowed are {grouped(least)} to {grouped(stored_bytes_max(tensor))}"
            raise SourceError(f"{name} is no packed file: {part.name!r} has {told}")
