"""Where compressed weights go. Nothing appears at its place before all of it has arrived and proved whole."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ellq_client.arrays import array_like, numpy_array, numpy_dtype
from ellq_client.checkpoint import stored_bytes
from ellq_client.durable import flush_file, flush_names
from ellq_client.errors import InvalidOutput, OutputError
from ellq_client.packing.source import PackedSource
from ellq_client.permissions import create_file, permissions_of
from ellq_client.sources import ArraySource, FileSource, Source
from ellq_client.values import TensorPlan

DEVICES = "/dev"
"""Where a rename would replace what all processes share."""


class Sink(Protocol):
    """Takes the bytes of one safetensors file, perhaps more than once."""

    def restart(self, plans: Sequence[TensorPlan]) -> None:
        """Forget everything and take a file with these tensors."""
        ...

    def write(self, data: memoryview, *, tensor: int | None) -> None:
        """Take the next bytes of a tensor, by its position; None: of the header."""
        ...

    def commit(self) -> None:
        """Put the finished file in its place."""
        ...

    def discard(self) -> None:
        """Leave nothing behind; harmless after commit."""
        ...


class FileSink:
    """A file that is written beside its place under another name, and gets its own when it is whole and on the disk."""

    def __init__(self, path: Path, *, source: Source, replace: bool) -> None:
        check_place(path)
        if isinstance(source, FileSource | PackedSource) and path.exists() and path.samefile(source.path):
            raise InvalidOutput(f"{path} is the source itself; name another file")
        self.path = path
        self._partial = PartialFile(path, permissions=source.permissions, replace=replace)

    def restart(self, plans: Sequence[TensorPlan]) -> None:
        """Empty the file."""
        self._partial.restart()

    def write(self, data: memoryview, *, tensor: int | None) -> None:
        """Append to the file."""
        self._partial.write(data)

    def commit(self) -> None:
        """Flush to the disk and let the file appear."""
        self._partial.commit()

    def discard(self) -> None:
        """Remove the unfinished file."""
        self._partial.discard()


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

    `permissions` and `replace` as PartialFile takes them. Whatever goes wrong leaves everything as it was.
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


class ArraySink:
    """Arrays in memory: of the same kind as the source's, numpy for a file."""

    def __init__(self, source: Source) -> None:
        self._originals = source.arrays if isinstance(source, ArraySource) else {}
        self._plans: Sequence[TensorPlan] = ()
        self._buffers: list[memoryview] = []
        self._filled: list[int] = []

    def restart(self, plans: Sequence[TensorPlan]) -> None:
        """Make room. Errors: OutputError, now rather than after the last byte, for a dtype that numpy does not know."""
        for plan in plans:
            if plan.name not in self._originals:
                numpy_dtype(plan.dtype, name=plan.name)
        self._plans = plans
        lengths = [stored_bytes(plan.dtype, plan.shape) for plan in plans]
        self._buffers = [np.empty(length, np.uint8).data for length in lengths]  # addresses: memory comes with the bytes
        self._filled = [0] * len(plans)

    def write(self, data: memoryview, *, tensor: int | None) -> None:
        """Collect a tensor's bytes; the header is of no use here."""
        if tensor is not None:
            start = self._filled[tensor]
            self._filled[tensor] = start + len(data)
            self._buffers[tensor][start : start + len(data)] = data

    def commit(self) -> None:
        """Nothing to put anywhere."""

    def discard(self) -> None:
        """Let go of the memory."""
        self._buffers = []

    def arrays(self) -> dict[str, Any]:
        """Return the arrays by name."""
        return {
            plan.name: array_like(self._originals[plan.name], buffer)
            if plan.name in self._originals
            else numpy_array(buffer, dtype=plan.dtype, shape=plan.shape, name=plan.name)
            for plan, buffer in zip(self._plans, self._buffers, strict=True)
        }
