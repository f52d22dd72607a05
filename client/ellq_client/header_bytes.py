"""How the header of a safetensors file is written: eight length bytes, then JSON text."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ellq.v1.safetensors import LENGTH_BYTES


def end_to_end(tensors: Iterable[tuple[str, Mapping[str, Any], int]]) -> dict[str, Any]:
    """Return entries that lie one behind the other, in this order: each from name, what else it says, length in bytes."""
    entries: dict[str, Any] = {}
    offset = 0
    for name, told, length_bytes in tensors:
        entries[name] = {**told, "data_offsets": [offset, offset + length_bytes]}
        offset += length_bytes
    return entries


def header_text(entries: Mapping[str, Any]) -> bytes:
    """Return entries as JSON text."""
    return json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()


def with_length(text: bytes) -> bytes:
    """Return the text of a header behind its length."""
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
