"""A folder whose shards are packed, or unpacked, while everything else stays as it is."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ellq_client.durable import flush_names
from ellq_client.errors import InvalidOutput, OutputError, SourceError
from ellq_client.folders.files import FolderFile
from ellq_client.folders.folder import Folder, Shard
from ellq_client.folders.places import check_folder_place, put, put_copy, reported
from ellq_client.folders.shard_files import begin_shard
from ellq_client.packing.entropies import PackedSizes, together
from ellq_client.packing.source import PackedSource
from ellq_client.permissions import make_folder, make_folders
from ellq_client.requests import Encoding

Progress: TypeAlias = Callable[[int, str], object]
"""Takes how many dense bytes are done, and the shard that they are of; "" where there is but one file."""


def repack_folder(folder: Folder, output: Path, encoding: Encoding, progress: Progress | None = None) -> PackedSizes | None:
    """Write the folder in another encoding, at a place that is new or an empty folder; it appears there when it is whole.

    Returns the sizes of a packed one. Errors: SourceError, OutputError, ExtraMissing.
    """
    _check(folder, output, encoding)
    place = output.resolve()
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    with reported(output):
        make_folder(partial, like=folder.path)
    try:
        sizes: list[PackedSizes | None] = []
        done_bytes = 0
        for shard in folder.shards:
            sizes.append(_rewrite(shard, partial, encoding, done_bytes, progress))
            done_bytes += shard.payload_bytes
        with reported(output):
            for file in folder.others:
                _copy(file, folder, partial)
            if folder.index is not None:
                index = partial / folder.index.name
                put(folder.index.text, index, by=partial / f".{index.name}", permissions=folder.index.permissions)
            flush_names(partial)
            os.replace(partial, place)
            flush_names(place.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    packed = [one for one in sizes if one is not None]
    return together(packed) if packed else None


def _check(folder: Folder, output: Path, encoding: Encoding) -> None:
    for shard in folder.shards:
        if isinstance(shard.source, PackedSource) == (encoding == "packed"):
            told = "packed already" if encoding == "packed" else "not packed: its weights lie in it as they are"
            raise SourceError(f"{shard.path} is {told}")
    check_folder_place(folder.path, output)
    place = output.resolve()
    if place == Path.cwd():
        raise InvalidOutput(f"{output} is the folder that this runs in, which cannot be replaced; name another one")
    if os.path.lexists(output) and (output.is_symlink() or not output.is_dir() or any(output.iterdir())):
        raise InvalidOutput(f"{output} is there, and no empty folder; name a new folder or an empty one")
    if not place.parent.is_dir():
        raise OutputError(f"cannot write {output}: {place.parent} is no folder")


def _rewrite(
    shard: Shard, directory: Path, encoding: Encoding, done_bytes: int, progress: Progress | None
) -> PackedSizes | None:
    with reported(directory / shard.name):
        file = begin_shard(shard, directory, encoding)
        try:
            for data in shard.source.payload():
                file.write(data)
                done_bytes += len(data)
                if progress is not None:
                    progress(done_bytes, shard.name)
            file.finish()
        finally:
            file.close()
    return file.sizes


def _copy(file: FolderFile, folder: Folder, directory: Path) -> None:
    place = directory / file.name
    make_folders(place.parent, like=(folder.path / file.name).parent)
    put_copy(file.path, place, by=place.with_name(f".{secrets.token_hex(4)}.partial"))
