"""GGUF files. What is written is the file itself, with other bytes in place of some tensors."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from ellq_client.errors import SourceError
from ellq_client.formats.contents import Entry, Fill
from ellq_client.formats.gguf_header import GgufTensor, read_header
from ellq_client.formats.layouts import Layout, left_alone
from ellq_client.formats.names import layouts_by_name
from ellq_client.headers import stored_bytes
from ellq_client.steady_file import SteadyFile

_DTYPES = {0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}
"""ggml types that are plain numbers; all others are blocks of quantised ones."""


class GgufFile:
    """The tensors of plain numbers in a GGUF file. Errors: SourceError."""

    def __init__(self, path: Path) -> None:
        self._file = SteadyFile(path)
        self.permissions = self._file.permissions
        with self._file.opened() as file:
            if not self._file.size_bytes:
                raise SourceError(f"{path} is no GGUF file: it is empty")
            tensors = read_header(file, size_bytes=self._file.size_bytes, name=str(path))
        self._plain = {tensor.name: tensor for tensor in tensors if tensor.kind in _DTYPES}
        self._check_places(tensors)
        self.entries: Sequence[Entry] = [self._entry(tensor) for tensor in self._plain.values()]
        told = {name: layout for name, one in self._plain.items() if (layout := _layout(one))}
        self.layouts: Mapping[str, Layout] = layouts_by_name({name: one.shape for name, one in self._plain.items()}) | told
        blocks = {one.name: one.kind for one in tensors if one.name not in self._plain}
        self.not_sent: Mapping[str, str] = {name: f"quantised in blocks (ggml type {kind})" for name, kind in blocks.items()}

    def check_unchanged(self) -> None:
        """Refuse a file that is not what it was."""
        self._file.check_unchanged()

    def companions(self, output: Path) -> Sequence[Path]:
        """Return none."""
        return ()

    def fills(self, output: Path, changed: Mapping[str, memoryview]) -> Sequence[tuple[Path, Fill]]:
        """Copy the file, then go to the place of each changed tensor."""

        def fill(file: BinaryIO) -> None:
            file.writelines(self._file.pieces(0, self._file.size_bytes))
            for name, data in changed.items():
                file.seek(self._plain[name].begin)
                file.write(data)

        return [(output, fill)]

    def _entry(self, tensor: GgufTensor) -> Entry:
        begin, end = tensor.begin, _end(tensor)
        return Entry(tensor.name, _DTYPES[tensor.kind], tensor.shape, lambda: self._file.read(begin, end))

    def _check_places(self, tensors: Sequence[GgufTensor]) -> None:
        """Refuse what is cut off, and tensors that share bytes: a change of one would be a change of both."""
        path, size_bytes = self._file.path, self._file.size_bytes
        if len({tensor.name for tensor in tensors}) < len(tensors):
            raise SourceError(f"{path} has two tensors of one name")
        for tensor in tensors:
            if _end(tensor) > size_bytes:
                raise SourceError(f"{path} is cut off: tensor {tensor.name!r} ends at byte {_end(tensor)} of {size_bytes}")
        for before, after in pairwise(sorted(tensors, key=lambda tensor: (tensor.begin, _end(tensor)))):
            if after.begin < _end(before):
                raise SourceError(f"{path}: tensors {before.name!r} and {after.name!r} overlap")


def _end(tensor: GgufTensor) -> int:
    """Return the byte after the last; of a quantised tensor only the first is known to be its own."""
    return tensor.begin + stored_bytes(_DTYPES.get(tensor.kind, ""), tensor.shape)


def _layout(tensor: GgufTensor) -> Layout | None:
    if tensor.name == "output.weight":
        return left_alone("the output head by its name")
    if "_exps." in tensor.name and len(tensor.shape) == 3:
        return Layout("stacked experts: (expert, out, in)", neuron_axis=(0, 1))
    return None
