"""Where the weights of several shards go: into files of the same names, each with the header of its original."""

from collections.abc import Sequence
from pathlib import Path

from ellq_client.folders.folder import Shard
from ellq_client.folders.places import reported
from ellq_client.folders.shard_files import ShardFile, begin_shard
from ellq_client.packing.entropies import PackedSizes, together
from ellq_client.packing.zstd import zstandard
from ellq_client.requests import Encoding
from ellq_client.values import TensorPlan


class ShardsSink:
    """Takes one stream and cuts it into shards. The files lie in a folder of work, where nobody takes them for finished."""

    def __init__(self, shards: Sequence[Shard], directory: Path, *, encoding: Encoding = "dense") -> None:
        """Take shards in the order of the stream. Errors: ExtraMissing when nothing can be packed here."""
        if encoding == "packed":
            zstandard()
        self._shards = tuple(shards)
        self._directory = directory
        self._encoding: Encoding = encoding
        self._begun = 0
        self._file: ShardFile | None = None
        self._packed: list[PackedSizes] = []
        self._ends: list[int] = []
        """For every shard the position in the stream that its last tensor stands before."""
        tensors = 0
        for shard in shards:
            tensors += len(shard.tensors)
            self._ends.append(tensors)

    @property
    def sizes(self) -> PackedSizes | None:
        """What packing made of all shards together; None when they are dense."""
        return together(self._packed) if self._packed else None

    def restart(self, plans: Sequence[TensorPlan]) -> None:
        """Begin again with the first shard."""
        self._close()
        self._begun = 0
        self._packed = []
        self._begin_next()

    def write(self, data: memoryview, *, tensor: int | None) -> None:
        """Append to the shard of the tensor; headers are those of the originals."""
        if tensor is None:
            return
        while tensor >= self._ends[self._begun - 1]:
            self._begin_next()
        assert self._file is not None, "restart() comes first"
        with reported(self._directory):
            self._file.write(data)

    def commit(self) -> None:
        """Write what has no weights, and flush everything to the disk."""
        while self._begun < len(self._shards):
            self._begin_next()
        self._finish()

    def discard(self) -> None:
        """Close the file under way; it is begun anew, or removed with the folder."""
        self._close()

    def _begin_next(self) -> None:
        self._finish()
        shard = self._shards[self._begun]
        self._begun += 1
        with reported(self._directory):
            self._file = begin_shard(shard, self._directory, self._encoding)

    def _finish(self) -> None:
        if self._file is not None:
            with reported(self._directory):
                self._file.finish()
            if self._file.sizes is not None:
                self._packed.append(self._file.sizes)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with reported(self._directory):
                file.close()
