"""A folder whose shards are packed, or unpacked, while everything else stays as it is."""

import os
import secrets
import shutil
from pathlib import Path

from ellq_client.errors import OutputError, SourceError
from ellq_client.folders.files import trees_of
from ellq_client.folders.folder import Folder, Shard
from ellq_client.folders.places import flush_names, put, reported
from ellq_client.folders.shard_files import begin_shard
from ellq_client.packing.entropies import PackedSizes, together
from ellq_client.packing.source import PackedSource
from ellq_client.requests import Encoding


def repack_folder(folder: Folder, output: Path, encoding: Encoding) -> PackedSizes | None:
    """Write the folder in another encoding, at a place that is new or an empty folder; it appears there when it is whole.

    Returns the sizes of a packed one. Errors: SourceError, OutputError, ExtraMissing.
    """
    _check(folder, output, encoding)
    partial = output.with_name(f".{output.name}.{secrets.token_hex(4)}.partial")
    with reported(output):
        partial.mkdir()
    try:
        sizes = [_rewrite(shard, partial, encoding) for shard in folder.shards]
        with reported(output):
            for file in folder.others:
                _copy(file.path, partial / file.name)
            if folder.index is not None:
                put(folder.index.text, partial / folder.index.name, by=partial / f".{folder.index.name}")
            flush_names(partial)
            os.replace(partial, output)
            flush_names(output.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    packed = [one for one in sizes if one is not None]
    return together(packed) if packed else None


def _check(folder: Folder, output: Path, encoding: Encoding) -> None:
    for shard in folder.shards:
        if isinstance(shard.source, PackedSource) == (encoding == "packed"):
            told = "packed already" if encoding == "packed" else "not packed: its weights lie in it as they are"
            raise SourceError(f"{shard.path} is {told}")
    source, place = folder.path.resolve(), output.resolve()
    if source.is_relative_to(place) or any(place.is_relative_to(tree) for tree in trees_of(source)):
        raise OutputError(f"{output} and the source {folder.path} lie one in the other; name a folder elsewhere")
    if os.path.lexists(output) and (output.is_symlink() or not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output} is there, and no empty folder; name a new folder or an empty one")
    if not place.parent.is_dir():
        raise OutputError(f"cannot write {output}: {place.parent} is no folder")


def _rewrite(shard: Shard, directory: Path, encoding: Encoding) -> PackedSizes | None:
    with reported(directory / shard.name):
        file = begin_shard(shard, directory, encoding)
        try:
            for data in shard.source.payload(len(shard.header)):
                file.write(memoryview(data))
            file.finish()
        finally:
            file.close()
    return file.sizes


def _copy(original: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    put(original, place, by=place.with_name(f".{secrets.token_hex(4)}.partial"))
