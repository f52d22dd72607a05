"""Where compressed weights go. Nothing appears at its place before all of it has arrived and proved whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ellq_client.arrays import array_like, numpy_array, numpy_dtype
from ellq_client.errors import InvalidOutput
from ellq_client.headers import stored_bytes
from ellq_client.packing.source import PackedSource
from ellq_client.partial_file import PartialFile, check_place
from ellq_client.sources import ArraySource, FileSource, Source
from ellq_client.values import TensorPlan


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
