"""The header of a safetensors stream, read once where its source is opened."""

from dataclasses import dataclass, field
from hashlib import sha256

from ellq_client.checkpoint import StoredTensor, parse_header


@dataclass(frozen=True)
class Header:
    """What is known of a header, its length bytes included."""

    length_bytes: int
    sha256: str
    tensors: tuple[StoredTensor, ...]
    """In offset order."""
    text: bytes = field(default=b"", repr=False)
    """Empty where only the server has read it."""


def read_header(text: bytes, *, size_bytes: int, name: str) -> Header:
    """Return what a header tells of a stream of `size_bytes`. Errors: SourceError."""
    tensors = parse_header(text, size_bytes=size_bytes, name=name)
    return Header(len(text), sha256(text).hexdigest(), tensors, text)
