"""A file on its way to its place: written beside it under another name, and given its own when it is whole and on the disk."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import BinaryIO

from ellq_client.durable import flush_file, flush_names
from ellq_client.errors import InvalidOutput, OutputError
from ellq_client.permissions import create_file, permissions_of

DEVICES = "/dev"
"""Where a rename would replace what all processes share."""


def check_place(path: Path) -> None:
    """Check, before any work, that a file can be put at this place. Errors: OutputError."""
    try:
        is_folder, is_other = path.is_dir(), path.exists() and not path.is_file()
    except OSError as error:  # a name that is too long
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    if is_folder:
        raise InvalidOutput(f"{path} is a directory; name a file in it")
    if is_other or os.path.realpath(path.parent) == DEVICES:  # /dev/stdout is an ordinary file where that leads to one
        raise OutputError(f"{path} is no ordinary file")  # a rename would replace the device itself
    trouble = errno.EACCES if path.parent.is_dir() else errno.ENOENT
    if trouble == errno.ENOENT or not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: {path.parent}: {os.strerror(trouble)}")


class PartialFile:
    """A file on its way to its place. Errors: OutputError."""

    def __init__(self, path: Path, *, permissions: int, replace: bool) -> None:
        """Take the permission bits that it gets at most: those of what it is made of, or ORDINARY.

        With `replace` it takes the place of whatever has its name when it is whole; a link there is replaced, not followed.
        Else a name that is taken, now or by then, is refused.
        """
        if not replace and os.path.lexists(path):
            raise _taken(path, "exists")
        self._path = path
        self._permissions = permissions
        self._replace = replace
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        self._file: BinaryIO | None = None

    def restart(self) -> None:
        """Create the file, or empty it."""
        with self._reported():
            if self._file is None:
                replaced = permissions_of(self._path.stat()) if self._path.exists() else self._permissions
                self._file = create_file(self._partial, self._permissions & replaced)
            self._file.seek(0)
            self._file.truncate()

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        assert self._file is not None, "restart() comes first"
        with self._reported():
            self._file.write(data)

    def rewrite(self, data: bytes) -> None:
        """Put bytes over the first ones; nothing is appended afterwards."""
        assert self._file is not None, "restart() comes first"
        with self._reported():
            self._file.seek(0)
            self._file.write(data)

    def fill(self, write: Callable[[BinaryIO], None]) -> None:
        """Create the file and let something else write all of it."""
        self.restart()
        assert self._file is not None
        with self._reported():
            write(self._file)

    def commit(self) -> None:
        """Flush to the disk, give it its name, and flush the name too. Errors: InvalidOutput for a name that is taken."""
        assert self._file is not None, "restart() comes first"
        with self._reported():
            flush_file(self._file)
            self._file.close()
            if self._replace:
                os.replace(self._partial, self._path)
            else:
                self._appear_first()
            flush_names(self._path.parent)

    def _appear_first(self) -> None:
        """Give it a name that nothing has: a hard link is refused where a rename would replace."""
        try:
            os.link(self._partial, self._path)
        except FileExistsError:
            raise _taken(self._path, "exists by now") from None
        except (OSError, AttributeError):  # no hard links here: all that is left is to look, and then to rename
            if os.path.lexists(self._path):
                raise _taken(self._path, "exists by now") from None
            os.replace(self._partial, self._path)
        else:
            self._partial.unlink()

    def discard(self) -> None:
        """Close and remove what is there; harmless after commit."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)  # even if an interruption came between its creation and our knowing of it

    @contextlib.contextmanager
    def _reported(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error


def _taken(path: Path, how: str) -> InvalidOutput:
    return InvalidOutput(f"{path} {how}, and is not to be replaced")


def write_file(path: Path, pieces: Iterable[bytes | memoryview], *, permissions: int, replace: bool = True) -> None:
    """Write a file, replacing what was there in one instant, when it is whole. Errors: OutputError.

    `permissions` and `replace` as PartialFile takes them. Whatever goes wrong before it has its name leaves everything
    as it was.
    """
    check_place(path)
    file = PartialFile(path, permissions=permissions, replace=replace)
    try:
        file.restart()
        for piece in pieces:
            file.write(piece)
        file.commit()
    finally:
        file.discard()
