"""Archives of numpy arrays. Arrays of Python objects are pickles and are refused; so is what inflates out of all proportion."""

import zipfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ellq_client.arrays import SAFETENSORS_DTYPES, weight_bytes
from ellq_client.counting import counted, grouped
from ellq_client.errors import SourceError
from ellq_client.formats.contents import Entry, Fill, told_of
from ellq_client.formats.layouts import Layout
from ellq_client.formats.names import layouts_by_name
from ellq_client.steady_file import SteadyFile

_SUFFIX = ".npy"
_MOST_ELEMENTS = 1 << 60
_HARMLESS_BYTES = 1 << 30
_MOST_INFLATION = 100
"""Times its own size that a file may inflate to, when that is more than a gibibyte: weights do not deflate that well."""


class NpzFile:
    """The arrays of numbers in an archive; one at a time is in memory. Errors: SourceError."""

    def __init__(self, path: Path) -> None:
        self._file = SteadyFile(path)
        self.permissions = self._file.permissions
        trouble = f"{path} is no .npz archive that can be read"
        with self._file.opened() as file, _reported(trouble), zipfile.ZipFile(file) as archive:
            self._members = archive.infolist()
            self._arrays = _checked(self._members, self._file)
            heads = {name: _read_head(archive, member, path) for name, member in self._arrays.items()}
        numbers = {name: head for name, head in heads.items() if head[1].name in SAFETENSORS_DTYPES}
        self.entries: Sequence[Entry] = [self._entry(name, *head) for name, head in numbers.items()]
        self.layouts: Mapping[str, Layout] = layouts_by_name({name: shape for name, (shape, _) in numbers.items()})
        self.not_sent: Mapping[str, str] = {
            name: f"dtype {head[1]}, which safetensors does not have" for name, head in heads.items() if name not in numbers
        }

    def check_unchanged(self) -> None:
        """Refuse a file that is not what it was."""
        self._file.check_unchanged()

    def companions(self, output: Path) -> Sequence[Path]:
        """Return none."""
        return ()

    def fills(self, output: Path, changed: Mapping[str, memoryview]) -> Sequence[tuple[Path, Fill]]:
        """Copy every member, compressed as it was, with other values in the changed ones."""
        names = {member.filename: name for name, member in self._arrays.items()}

        def fill(file: BinaryIO) -> None:
            with zipfile.ZipFile(file, "w") as new:
                for member in self._members:
                    name = names.get(member.filename)
                    with new.open(_like(member), "w", force_zip64=True) as target:
                        if name is None or name not in changed:
                            target.write(self._bytes(member))
                        else:
                            _write_array(target, self._array(name), changed[name])

        return [(output, fill)]

    def _entry(self, name: str, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Entry:
        return Entry(name, SAFETENSORS_DTYPES[dtype.name], shape, lambda: weight_bytes(self._array(name)))

    def _array(self, name: str) -> "np.ndarray[Any, Any]":
        member = self._arrays[name]
        data = BytesIO(self._bytes(member))
        with _reported(f"{self._file.path}: {member.filename!r} is no numpy array that can be read"):
            return np.lib.format.read_array(data, allow_pickle=False)

    def _bytes(self, member: zipfile.ZipInfo) -> bytes:
        trouble = f"{self._file.path}: {member.filename!r} cannot be read"
        with self._file.opened() as file, _reported(trouble), zipfile.ZipFile(file) as archive:
            data = archive.read(member)
        if len(data) != member.file_size:
            told = f"it has {counted(len(data), 'byte')}, not the {grouped(member.file_size)} that the archive says"
            raise SourceError(f"{trouble}: {told}")
        return data


def _checked(members: list[zipfile.ZipInfo], file: SteadyFile) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays by name, if the archive is one that a program may have meant. Errors: SourceError."""
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise SourceError(f"{file.path} has two members called {next(name for name in names if names.count(name) > 1)!r}")
    inflated = sum(member.file_size for member in members)
    if inflated > max(_HARMLESS_BYTES, _MOST_INFLATION * file.size_bytes):
        told = f"it would inflate from {file.size_bytes} to {inflated} bytes; allowed is {_MOST_INFLATION} times its size"
        raise SourceError(f"{file.path} is refused: {told}")
    for before, after in pairwise(sorted(members, key=lambda member: member.header_offset)):
        if before.header_offset + before.compress_size > after.header_offset:
            raise SourceError(f"{file.path} is refused: members {before.filename!r} and {after.filename!r} overlap")
    return {name.removesuffix(_SUFFIX): member for name, member in zip(names, members, strict=True) if name.endswith(_SUFFIX)}


def _read_head(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> tuple[tuple[int, ...], "np.dtype[Any]"]:
    """Return shape and dtype of an array, of which the data must be as long as they say. Errors: SourceError."""
    with _reported(f"{path}: {member.filename!r} is no numpy array that can be read"), archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        held = member.file_size - file.tell()
    if dtype.hasobject:
        raise SourceError(f"{path}: {member.filename!r} holds Python objects, a pickle; nothing was executed")
    if not _is_shape(shape):
        raise SourceError(f"{path}: {member.filename!r} does not hold together: its shape would be {shape}")
    needed = prod(shape) * dtype.itemsize
    if needed != held:
        told = f"{needed} bytes for {dtype} of shape {list(shape)}, got {held}"
        raise SourceError(f"{path}: {member.filename!r} does not hold together: {told}")
    return shape, dtype


def _is_shape(shape: tuple[Any, ...]) -> bool:
    """Return whether these are sizes that numpy can count with: integers, True not being one, even beside a zero."""
    return all(type(size) is int and size >= 0 for size in shape) and prod(size or 1 for size in shape) < _MOST_ELEMENTS


@contextmanager
def _reported(trouble: str) -> Generator[None]:
    """Tell what libraries raise as SourceError, in a line.

    Each compression has errors of its own, and numpy parses headers as Python.
    """
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system, not of a library
        raise SourceError(f"{trouble}: {told_of(error)}") from error


def _like(member: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Return an empty member of the same name, date and compression."""
    new = zipfile.ZipInfo(member.filename, member.date_time)
    new.compress_type, new.external_attr, new.comment = member.compress_type, member.external_attr, member.comment
    return new


def _write_array(file: Any, original: "np.ndarray[Any, Any]", data: memoryview) -> None:
    """Write an array in the order of axes and bytes of the original."""
    array = np.frombuffer(data, original.dtype.newbyteorder("<")).reshape(original.shape).astype(original.dtype)
    if original.flags.f_contiguous and not original.flags.c_contiguous:
        array = np.asfortranarray(array)
    np.lib.format.write_array(file, array, allow_pickle=False)
