"""A file of another format, sent as the safetensors stream of its tensors."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from ellq.v1.frames import FRAME_BYTES, Data, framed
from ellq.v1.safetensors import METADATA
from ellq_client.arrays import file_order, header_of
from ellq_client.counting import counted
from ellq_client.errors import SourceError
from ellq_client.formats.contents import Contents, Entry
from ellq_client.headers import StoredTensor, read_header, stored_bytes


class FormatSource:
    """The tensors of a file, in the order of the safetensors library; one of them at a time is in memory."""

    def __init__(self, path: Path, contents: Contents, *, suffixes: tuple[str, ...]) -> None:
        """Errors: SourceError when the file has nothing to send."""
        self.path = path
        self.name = path.name
        self.contents = contents
        self.suffixes = suffixes
        self._entries = {entry.name: entry for entry in sorted(contents.entries, key=_place)}
        if not self._entries:
            reasons = "; ".join(f"{name}: {why}" for name, why in list(contents.not_sent.items())[:3])
            raise SourceError(f"{path} holds no tensors that can be sent{reasons and f' ({reasons})'}")
        _check_names(path, self._entries)
        lengths = {name: stored_bytes(entry.dtype, entry.shape) for name, entry in self._entries.items()}
        text = header_of((one.name, one.dtype, one.shape, lengths[one.name]) for one in self._entries.values())
        self.size_bytes = len(text) + sum(lengths.values())
        self.header = read_header(text, size_bytes=self.size_bytes, name=self.name)

    @property
    def permissions(self) -> int:
        """Permission bits that all files have in common of which it is read."""
        return self.contents.permissions

    def frames(self) -> Iterator[Data]:
        """Yield the header, then tensor after tensor. Errors: SourceError, also when the file changed meanwhile."""
        self.contents.check_unchanged()
        yield from framed(chain([memoryview(self.header.text)], map(_bytes_of, self._entries.values())))
        self.contents.check_unchanged()

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the bytes of the tensor of that name. Errors: SourceError."""
        view = _bytes_of(self._entries[tensor.name])  # only once somebody takes the first piece
        for start in range(0, len(view), FRAME_BYTES):
            yield view[start : start + FRAME_BYTES]


def _check_names(path: Path, names: Iterable[str]) -> None:
    """Refuse names that no header can hold, and the one that nobody can ask for."""
    for name in names:
        if not name:
            raise SourceError(f"{path} has a tensor whose name is empty; give it one")
        if name == METADATA or name.encode(errors="ignore").decode() != name:
            raise SourceError(f"{path} has a tensor called {name!a}, which safetensors cannot hold")


def _place(entry: Entry) -> tuple[int, str]:
    return file_order(entry.dtype), entry.name


def _bytes_of(entry: Entry) -> memoryview:
    view = entry.load()
    if len(view) != stored_bytes(entry.dtype, entry.shape):
        told = f"{counted(len(view), 'byte')} for {entry.dtype} of shape {list(entry.shape)}"
        raise SourceError(f"tensor {entry.name!r} does not hold together: {told}")
    return view
