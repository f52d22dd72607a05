"""Packs what is dense, unpacks what is packed, byte for byte, and reads packed weights. No server is needed."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ellq_client.arrays import numpy_array, numpy_dtype
from ellq_client.errors import InvalidRequest, SourceError
from ellq_client.folders.folder import open_folder
from ellq_client.folders.repacking import Progress, repack_folder
from ellq_client.outputs import open_sink
from ellq_client.packed_sink import PackedSink
from ellq_client.packing.entropies import PackedSizes
from ellq_client.packing.reading import PackedCheckpoint
from ellq_client.packing.source import PackedSource
from ellq_client.requests import Encoding
from ellq_client.sinks import ArraySink
from ellq_client.sources import Source, open_source
from ellq_client.uris import AnyPath, is_uri


def pack(path: AnyPath, output: AnyPath, *, replace_output: bool = True, progress: Progress | None = None) -> PackedSizes:
    """Pack a file into a file, a folder into a new folder.

    An existing file is replaced when the new one is whole; with `replace_output=False` it stays, and that is an OutputError.

    Another format is read as the safetensors file of its tensors, and that is what is packed: nothing else of it is kept.
    `progress` is called with how many dense bytes are done and, of a folder, the name of the shard. Errors: SourceError, also
    for what is packed already; OutputError; ExtraMissing.
    """
    place = _local(path)
    if os.path.isdir(place):
        sizes = repack_folder(open_folder(place), _local(output), "packed", progress)
    else:
        source = open_source(place)
        if isinstance(source, PackedSource):
            raise SourceError(f"{place} is packed already")
        sizes = _rewrite(source, _local(output), "packed", progress, replace=replace_output)
    assert sizes is not None, "what is packed has sizes"
    return sizes


def unpack(path: AnyPath, output: AnyPath, *, replace_output: bool = True, progress: Progress | None = None) -> None:
    """Write the dense file that a packed one stands for, or the folder.

    `replace_output` and `progress` are those of `pack`. Errors: SourceError for what is not packed or damaged; OutputError;
    ExtraMissing.
    """
    place = _local(path)
    if os.path.isdir(place):
        repack_folder(open_folder(place), _local(output), "dense", progress)
        return
    source = open_source(place)
    if not isinstance(source, PackedSource):
        raise SourceError(f"{place} is not packed: its weights lie in it as they are")
    _rewrite(source, _local(output), "dense", progress, replace=replace_output)


def load_packed(path: AnyPath) -> dict[str, Any]:
    """Return the arrays of a packed file, or of all packed shards of a folder, by name; every digest is checked.

    bfloat16 and float8 arrays are of the dtypes of `ml_dtypes`. Errors: SourceError, OutputError for a dtype that numpy lacks,
    ExtraMissing.
    """
    place = _local(path)
    if not os.path.isdir(place):
        return _load(place)
    shards = open_folder(place).shards
    return {name: array for shard in shards for name, array in _load(shard.path).items()}


def _local(place: AnyPath) -> Path:
    """Return a place on this machine. Errors: InvalidRequest for a URI."""
    if is_uri(place):
        raise InvalidRequest(f"{place}: a URI is read by a server; this takes local files")
    return Path(place)


def _load(path: Path) -> dict[str, Any]:
    if not isinstance(open_source(path), PackedSource):
        raise SourceError(f"{path} is not packed: its weights lie in it as they are")
    arrays: dict[str, Any] = {}
    with PackedCheckpoint(path) as packed:
        for tensor in packed.tensors:
            numpy_dtype(tensor.dtype, name=tensor.name)  # what numpy lacks is told before anything is read
        for place, tensor in enumerate(packed.tensors):
            buffer = np.empty(tensor.length_bytes, np.uint8)
            filled = 0
            for words in packed.words(place):
                buffer[filled : filled + words.nbytes] = words.view(np.uint8)
                filled += words.nbytes
            arrays[tensor.name] = numpy_array(buffer.data, dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)
    return arrays


def _rewrite(
    source: Source, output: Path, encoding: Encoding, progress: Progress | None, *, replace: bool
) -> PackedSizes | None:
    """Write a source as a safetensors file; return the sizes of a packed one."""
    sink = open_sink(source, output, encoding, replace=replace)
    assert not isinstance(sink, ArraySink), "there is an output"
    missing = source.header.length_bytes
    done_bytes = 0
    try:
        sink.restart(())
        sink.write(memoryview(source.header.text), tensor=None)
        for data in source.frames():
            payload = memoryview(data)[missing:]
            missing -= min(missing, len(data))
            sink.write(payload, tensor=0)
            done_bytes += len(data)
            if progress is not None:
                progress(done_bytes, "")
        sink.commit()
    finally:
        sink.discard()
    return sink.sizes if isinstance(sink, PackedSink) else None
