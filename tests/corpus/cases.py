"""What a case of the corpus is: a file or folder as hubs have it, and what must happen to it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ellq_client import EllqError, SourceError

Make = Callable[[Path], None]
"""Writes the case at a path, in an empty folder that is its own."""


@dataclass(frozen=True)
class Refused:
    """How a case must be refused."""

    words: str
    """A regular expression that the message holds; it names the offender."""
    error: type[EllqError] = SourceError
    """The class itself, no subclass."""
    reason: str | None = None
    """Of an error of the server, without prefix."""


@dataclass(frozen=True)
class Case:
    """One odd or hostile thing."""

    name: str
    """Of the file or folder that a caller would name."""
    make: Make
    refused: Refused | None = None
    """None: it works."""
    compressed: frozenset[str] = frozenset()
    """Of what works, the tensors that are compressed; all others come back byte for byte."""
    tied: frozenset[str] = frozenset()
    """Other names of the same tensors, which change with them."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Beyond the rule."""

    def write(self, folder: Path) -> Path:
        """Make the case in a new folder and return its path."""
        folder.mkdir(parents=True)
        path = folder / self.name
        self.make(path)
        return path


def works(name: str, make: Make, *compressed: str, tied: Iterable[str] = (), **options: object) -> Case:
    """Return a case that comes back, with these tensors compressed and the others as they were."""
    return Case(name, make, compressed=frozenset(compressed), tied=frozenset(tied), options=options)


def refused(name: str, make: Make, words: str, *, error: type[EllqError] = SourceError, reason: str | None = None) -> Case:
    """Return a case that neither call takes."""
    return Case(name, make, Refused(words, error, reason))
