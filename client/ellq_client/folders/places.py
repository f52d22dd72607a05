"""Writing into an output folder, so that a kill at any moment leaves old or new, never half of a file."""

import errno
import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ellq_client.durable import flush_file
from ellq_client.errors import InvalidOutput, OutputError
from ellq_client.folders.files import WEIGHTS, trees_of
from ellq_client.formats import family_of
from ellq_client.permissions import create_file, permissions_of


@contextmanager
def reported(path: Path) -> Generator[None]:
    """Turn what the operating system says into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or path}: {error.strerror}") from error


def check_folder_place(source: Path, output: Path) -> None:
    """Refuse an output that is named like a file of weights, or would be read as source, or overwrite it.

    Errors: InvalidOutput.
    """
    if not os.path.isdir(output) and (output.suffix.lower() == WEIGHTS or family_of(output) is not None):
        raise InvalidOutput(f"{output} is named like a file, but {source} is a folder and comes back as one; name a folder")
    root, place = source.resolve(), output.resolve()
    if root.is_relative_to(place) or any(place.is_relative_to(tree) for tree in trees_of(root)):
        raise InvalidOutput(f"{output} and the source {source} lie one in the other; name a folder elsewhere")


def create(place: Path, permissions: int) -> BinaryIO:
    """Return a new file, in place of whatever file or link had its name."""
    place.unlink(missing_ok=True)
    return create_file(place, permissions)


def open_own(place: Path, flags: int, permissions: int = 0) -> int:
    """Return a handle of an ordinary file, reached by no link; `permissions` are those of one that is created.

    Errors: OSError; OutputError for anything else.
    """
    try:
        handle = os.open(place, flags | os.O_NOFOLLOW | os.O_NONBLOCK, permissions)
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


def put(data: bytes, place: Path, *, by: Path, permissions: int) -> None:
    """Put bytes at a place; `by` is a name on the same disk that nobody needs."""
    with create(by, permissions) as file:
        file.write(data)
        flush_file(file)
    os.replace(by, place)


def put_copy(original: Path, place: Path, *, by: Path) -> None:
    """Put a copy of a file at a place; `by` is a name on the same disk that nobody needs."""
    with original.open("rb") as data, create(by, permissions_of(os.fstat(data.fileno()))) as file:
        shutil.copyfileobj(data, file, length=1 << 20)
        flush_file(file)
    os.replace(by, place)
