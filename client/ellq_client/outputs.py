"""Which sink takes the weights of a source, and the one for files of other formats."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ellq_client.errors import InvalidOutput
from ellq_client.formats import FormatSource, family_of
from ellq_client.headers import stored_bytes
from ellq_client.packed_sink import PackedSink
from ellq_client.partial_file import PartialFile, check_place
from ellq_client.requests import Encoding
from ellq_client.sinks import ArraySink, FileSink
from ellq_client.sources import Source
from ellq_client.values import TensorPlan

_SAFETENSORS = ".safetensors"


def open_sink(
    source: Source, output: Path | None, encoding: Encoding, *, replace: bool
) -> "ArraySink | FileSink | FormatSink | PackedSink":
    """Return where the weights of a source go: the format of the source, safetensors, or memory. Errors: OutputError.

    `replace` as PartialFile takes it.
    """
    if encoding == "packed":
        return _open_packed(source, output, replace=replace)
    if output is None:
        return ArraySink(source)
    family = family_of(output)
    if isinstance(source, FormatSource) and output.suffix.lower() != _SAFETENSORS:
        return FormatSink(output, source=source, replace=replace)
    if family is not None:
        raise InvalidOutput(f"{output} is named like another format; the weights of {source.name} come back as {_SAFETENSORS}")
    return FileSink(output, source=source, replace=replace)


def _open_packed(source: Source, output: Path | None, *, replace: bool) -> PackedSink:
    if output is None:
        raise InvalidOutput("packed weights are stored, not handed back in memory; name an output file")
    if family_of(output) is not None:
        raise InvalidOutput(f"{output} is named like another format; packed weights are stored as {_SAFETENSORS}")
    return PackedSink(output, source=source, replace=replace)


class FormatSink:
    """A file of the source's own format: all of the source, with what was compressed in place of what was not."""

    def __init__(self, path: Path, *, source: FormatSource, replace: bool) -> None:
        """Check the place, and those of files that belong beside it, which replace nothing. Errors: OutputError."""
        if path.suffix.lower() not in source.suffixes:
            allowed = ", ".join((*source.suffixes, _SAFETENSORS))
            found = path.suffix or "a file without suffix"
            raise InvalidOutput(f"{path}: {source.name} comes back as {allowed}, not as {found}")
        check_place(path)
        if path.exists() and path.samefile(source.path):
            raise InvalidOutput(f"{path} is the source itself; name another file")
        for companion in source.contents.companions(path):
            if os.path.lexists(companion):
                raise InvalidOutput(f"{companion} exists, and a part of {path.name} goes there; remove it or name another file")
        self._path = path
        self._replace = replace
        self._contents = source.contents
        self._plans: Sequence[TensorPlan] = ()
        self._buffers: dict[int, memoryview] = {}
        self._filled: dict[int, int] = {}
        self._partials: list[PartialFile] = []

    def restart(self, plans: Sequence[TensorPlan]) -> None:
        """Make room for what will be compressed; the rest is in the source."""
        self._plans = plans
        lengths = {plan.tensor: stored_bytes(plan.dtype, plan.shape) for plan in plans if plan.treatment == "compress"}
        self._buffers = {tensor: np.empty(length, np.uint8).data for tensor, length in lengths.items()}
        self._filled = dict.fromkeys(lengths, 0)

    def write(self, data: memoryview, *, tensor: int | None) -> None:
        """Collect the bytes of a tensor that may have changed."""
        if tensor in self._buffers:
            start = self._filled[tensor]
            self._filled[tensor] = start + len(data)
            self._buffers[tensor][start : start + len(data)] = data

    def commit(self) -> None:
        """Write the files, then let them appear: the output last, so that it is never there without its companions."""
        self._contents.check_unchanged()
        changed = {self._plans[tensor].name: buffer for tensor, buffer in self._buffers.items()}
        fills = self._contents.fills(self._path, changed)
        for place, fill in fills:
            replace = self._replace and place == self._path
            self._partials.append(PartialFile(place, permissions=self._contents.permissions, replace=replace))
            self._partials[-1].fill(fill)
        self._contents.check_unchanged()
        with contextlib.ExitStack() as undo:
            for (place, _), partial in zip(fills, self._partials, strict=True):
                partial.commit()
                undo.callback(place.unlink)
            undo.pop_all()

    def discard(self) -> None:
        """Remove unfinished files and let go of the memory."""
        for partial in self._partials:
            partial.discard()
        self._buffers = {}
