"""What every format has in common: numbers by name that can be sent, and a way to put changed ones back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from ellq_client.formats.layouts import Layout

Fill: TypeAlias = Callable[[BinaryIO], None]
"""Writes a whole file through the handle of an empty one."""

LONGEST_REASON = 200
"""Characters of what a library says that are told."""


def told_of(error: Exception) -> str:
    """Return what a library says of a file, in a line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:LONGEST_REASON]


@dataclass(frozen=True)
class Entry:
    """One tensor, of which nothing but name and shape is in memory before it is loaded."""

    name: str
    dtype: str
    """In the words of safetensors."""
    shape: tuple[int, ...]
    load: Callable[[], memoryview]
    """Returns the bytes, little-endian and row-major. Errors: SourceError."""


class Contents(Protocol):
    """An opened file of some format."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The tensors that are sent, each once however many names it has."""
        ...

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """What the format itself knows of how tensors lie, by name; the others lie as (out, in).

        A family whose nodes do not tell asks names and shapes itself.
        """
        ...

    @property
    def not_sent(self) -> Mapping[str, str]:
        """What else is in the file, by name, and why it is not sent."""
        ...

    @property
    def permissions(self) -> int:
        """Permission bits that all files have in common of which it is read."""
        ...

    def check_unchanged(self) -> None:
        """Check that the file is still the one that was opened. Errors: SourceError."""
        ...

    def companions(self, output: Path) -> Sequence[Path]:
        """Return the files that appear beside the output."""
        ...

    def fills(self, output: Path, changed: Mapping[str, memoryview]) -> Sequence[tuple[Path, Fill]]:
        """Return how to write the same file with other bytes in some entries: companions first, the output last."""
        ...
