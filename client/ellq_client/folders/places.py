"""Writing into an output folder, so that a kill at any moment leaves old or new, never half of a file."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ellq_client.errors import OutputError


@contextmanager
def reported(path: Path) -> Generator[None]:
    """Turn what the operating system says into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or path}: {error.strerror}") from error


def put(data: bytes | Path, place: Path, *, by: Path) -> None:
    """Put bytes, or a copy of a file with its permissions, at a place; `by` is a free name on the same disk."""
    with by.open("wb") as file:
        if isinstance(data, Path):
            with data.open("rb") as original:
                shutil.copyfileobj(original, file, length=1 << 20)
        else:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if isinstance(data, Path):
        shutil.copymode(data, by)
    os.replace(by, place)


def flush_names(directory: Path) -> None:
    """Flush to the disk which files a folder holds."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
