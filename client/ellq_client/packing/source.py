"""A packed file as the dense stream that it stands for."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ellq.v1.frames import FRAME_BYTES, Data, framed
from ellq_client.headers import StoredTensor, read_header
from ellq_client.packing.reading import PackedCheckpoint
from ellq_client.steady_file import SteadyFile


class PackedSource:
    """A packed file, unpacked on the way out: a block of it at a time is in memory."""

    def __init__(self, path: Path, *, name: str | None = None) -> None:
        """Check the header; `name` is what to call the dense file. Errors: SourceError, ExtraMissing."""
        self.path = path
        self.name = name or path.name
        self._file = SteadyFile(path)
        self.modified_ns = self._file.modified_ns
        self.permissions = self._file.permissions
        with PackedCheckpoint(path) as opened:
            self.size_bytes = opened.size_bytes
            self.header = read_header(opened.header, size_bytes=self.size_bytes, name=self.name)

    def frames(self) -> Iterator[Data]:
        """Yield the header, then the weights. Errors: SourceError, also when the file changed or a digest is wrong."""
        return framed(chain([memoryview(self.header.text)], self._payload()))

    def payload(self) -> Iterator[Data]:
        """Yield all that comes behind the header. Errors: SourceError, as of `frames`."""
        return framed(self._payload())

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the bytes of a tensor."""
        with PackedCheckpoint(self.path) as opened:
            for start in range(tensor.begin, tensor.end, FRAME_BYTES):
                yield memoryview(opened.read(start, min(FRAME_BYTES, tensor.end - start)))
        self._file.check_unchanged()

    def _payload(self) -> Iterator[memoryview]:
        self._file.check_unchanged()
        with PackedCheckpoint(self.path) as opened:
            yield from opened.payload()
        self._file.check_unchanged()
