"""Writing into an output folder, so that a kill at any moment leaves old or new, never half of a file."""

import errno
import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ellq_client.errors import InvalidOutput, OutputError
from ellq_client.folders.files import trees_of


@contextmanager
def reported(path: Path) -> Generator[None]:
    """Turn what the operating system says into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or path}: {error.strerror}") from error


def check_apart(source: Path, output: Path) -> None:
    """Refuse an output that would be read as source, or overwrite it. Errors: InvalidOutput."""
    root, place = source.resolve(), output.resolve()
    if root.is_relative_to(place) or any(place.is_relative_to(tree) for tree in trees_of(root)):
        raise InvalidOutput(f"{output} and the source {source} lie one in the other; name a folder elsewhere")


def create(place: Path) -> BinaryIO:
    """Return a new file, in place of whatever file or link had its name."""
    place.unlink(missing_ok=True)
    return place.open("xb")


def open_own(place: Path, flags: int) -> int:
    """Return a handle of an ordinary file, reached by no link. Errors: OSError; OutputError for anything else."""
    try:
        handle = os.open(place, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode=0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise OutputError(f"{place} is no ordinary file; name a new folder or an empty one") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OutputError(f"{place} is no ordinary file; name a new folder or an empty one")
    return handle


def read_own(place: Path) -> bytes:
    """Return what lies in an ordinary file, reached by no link. Errors: OSError; OutputError for anything else."""
    with open(open_own(place, os.O_RDONLY), "rb") as file:
        return file.read()


def put(data: bytes | Path, place: Path, *, by: Path) -> None:
    """Put bytes, or a copy of a file with its permissions, at a place; `by` is a name on the same disk that nobody needs."""
    with create(by) as file:
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
