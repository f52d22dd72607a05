"""One shard of an output on its way: dense, or packed."""

import os
from pathlib import Path

from ellq_client.folders.folder import Shard
from ellq_client.folders.places import create
from ellq_client.packing.entropies import PackedSizes
from ellq_client.packing.naming import stored_name
from ellq_client.packing.packer import Packer
from ellq_client.requests import Encoding


class ShardFile:
    """A dense shard: the header of its original, then weights. Errors: OSError."""

    sizes: PackedSizes | None = None
    """What packing made of it; None when it is dense or not finished."""

    def __init__(self, place: Path, opening: bytes) -> None:
        """Create the file, in place of whatever had its name, and write how it begins."""
        self._file = create(place)
        self._file.write(opening)

    def write(self, data: memoryview) -> None:
        """Append weights."""
        self._file.write(data)

    def finish(self) -> None:
        """Flush everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._file.close()


class PackedShardFile(ShardFile):
    """The same, packed. Errors: OSError; ExtraMissing."""

    def __init__(self, place: Path, packer: Packer) -> None:
        self._packer = packer
        super().__init__(place, packer.opening)

    def write(self, data: memoryview) -> None:
        """Append what is packed by now."""
        for piece in self._packer.take(data):
            self._file.write(piece)

    def finish(self) -> None:
        """Write what is left and the header, and flush everything to the disk."""
        for piece in self._packer.finish():
            self._file.write(piece)
        self._file.seek(0)
        self._file.write(self._packer.header())
        super().finish()
        self.sizes = self._packer.sizes()


def begin_shard(shard: Shard, directory: Path, encoding: Encoding) -> ShardFile:
    """Return the file of a shard in this folder."""
    place = directory / stored_name(shard.name, encoding)
    if encoding == "packed":
        return PackedShardFile(place, Packer(shard.header, name=shard.name))
    return ShardFile(place, shard.header)
