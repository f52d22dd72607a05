"""Standard output, whose own failure is told from those of everything else."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TextIO


class StandardOutput:
    """Stands in for the stream that standard output is, and keeps the error of writing to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        """Return whatever else the stream has."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text. Errors: OSError, which is the failure from then on."""
        with self._watched():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream. Errors: as write."""
        with self._watched():
            self._stream.flush()

    @contextmanager
    def _watched(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
            raise
