"""Several shards as one safetensors stream: the tensors of the first, then those of the next."""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

from ellq.v1.frames import Data, framed
from ellq.v1.safetensors import LENGTH_BYTES
from ellq_client.checkpoint import Checkpoint
from ellq_client.folders.folder import Shard
from ellq_client.header_bytes import end_to_end, header_text, with_length
from ellq_client.headers import StoredTensor, parse_header, read_header
from ellq_client.packing.reading import open_checkpoint
from ellq_client.permissions import narrowest
from ellq_client.sources import Source


def source_of(shards: Sequence[Shard], *, name: str) -> Source:
    """Return the stream of these shards: a single one as it lies, several as one under this name."""
    return shards[0].source if len(shards) == 1 else ChainedSource(shards, name=name)


def chained_header(shards: Iterable[tuple[bytes, Sequence[StoredTensor]]]) -> bytes:
    """Return the header of the tensors of all these headers, each with its tensors in offset order. Metadata stay behind."""
    read = ((json.loads(header[LENGTH_BYTES:]), tensors) for header, tensors in shards)
    entries = ((tensor.name, told[tensor.name], tensor.length_bytes) for told, tensors in read for tensor in tensors)
    return with_length(header_text(end_to_end(entries)))


class ChainedSource:
    """Shards one after the other, as a source."""

    def __init__(self, shards: Sequence[Shard], *, name: str) -> None:
        """Take shards that have no tensor in common."""
        self.name = name
        self._shards = tuple(shards)
        text = chained_header((shard.header, shard.tensors) for shard in shards)
        self.size_bytes = len(text) + sum(shard.payload_bytes for shard in shards)
        self.header = read_header(text, size_bytes=self.size_bytes, name=name)
        self.permissions = narrowest(shard.source.permissions for shard in shards)
        self._places = {tensor.name: (shard, tensor) for shard in shards for tensor in shard.tensors}

    def frames(self) -> Iterator[Data]:
        """Yield the header, then the weights of shard after shard."""
        yield from framed([memoryview(self.header.text)])
        for shard in self._shards:
            yield from shard.source.payload()

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the bytes of the tensor of that name."""
        shard, original = self._places[tensor.name]
        return shard.source.pieces(original)


class ChainedCheckpoint(Checkpoint):
    """Shards one after the other, for the verifier. Errors: SourceError."""

    def __init__(self, paths: Sequence[Path], *, path: Path) -> None:
        """Open the shards, which have no tensor in common; `path` is what messages speak of."""
        self.path = path
        with ExitStack() as opened:
            self._shards = [opened.enter_context(open_checkpoint(one)) for one in paths]
            self._opened = opened.pop_all()
        self.header = chained_header((shard.header, shard.tensors) for shard in self._shards)
        payloads = [shard.size_bytes - len(shard.header) for shard in self._shards]
        self._begins = list(accumulate(payloads, initial=len(self.header)))
        self.size_bytes = self._begins.pop()
        self.tensors = parse_header(self.header, size_bytes=self.size_bytes, name=str(path))

    def read(self, begin: int, length: int) -> bytearray:
        """Return bytes of one tensor: they never lie in two shards."""
        place = bisect_right(self._begins, begin) - 1
        shard = self._shards[place]
        return shard.read(begin - self._begins[place] + len(shard.header), length)

    def __exit__(self, *_: object) -> None:
        self._opened.close()
