"""One shard of an output on its way: dense, or packed."""

from pathlib import Path

from ellq.v1.frames import Data
from ellq_client.durable import flush_file
from ellq_client.folders.folder import Shard
from ellq_client.folders.places import create
from ellq_client.packing.entropies import PackedSizes
from ellq_client.packing.naming import stored_name
from ellq_client.packing.packer import PackedWriter, Packer
from ellq_client.requests import Encoding


class ShardFile:
    """A dense shard: bytes as they come. Errors: OSError."""

    sizes: PackedSizes | None = None
    """What packing made of it; None when it is dense or not finished."""

    def __init__(self, place: Path, permissions: int) -> None:
        """Create the file, in place of whatever had its name."""
        self._file = create(place, permissions)

    def write(self, data: Data) -> None:
        """Append bytes."""
        self._file.write(data)

    def finish(self) -> None:
        """Flush everything to the disk."""
        flush_file(self._file)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._file.close()


class PackedShardFile(ShardFile):
    """The same, packed. Errors: OSError; ExtraMissing."""

    def __init__(self, place: Path, permissions: int, packer: Packer) -> None:
        """Create the file and write how it begins."""
        super().__init__(place, permissions)
        try:
            self._writer = PackedWriter(packer, write=self._file.write, rewrite=self._rewrite)
        except BaseException:
            self.close()
            raise

    def write(self, data: Data) -> None:
        """Append what is packed of these weights by now."""
        self._writer.take(data)

    def finish(self) -> None:
        """Write what is left and the header, and flush everything to the disk."""
        sizes = self._writer.finish()
        super().finish()
        self.sizes = sizes

    def _rewrite(self, data: bytes) -> None:
        self._file.seek(0)
        self._file.write(data)


def begin_shard(shard: Shard, directory: Path, encoding: Encoding) -> ShardFile:
    """Return the file of a shard in this folder, which takes the weights next."""
    place = directory / stored_name(shard.name, encoding)
    if encoding == "packed":
        return PackedShardFile(place, shard.source.permissions, Packer(shard.header, name=shard.name))
    file = ShardFile(place, shard.source.permissions)
    file.write(shard.header)
    return file
