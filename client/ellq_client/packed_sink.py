"""A packed file on its way to its place."""

from collections.abc import Sequence
from pathlib import Path

from ellq_client.packing.entropies import PackedSizes
from ellq_client.packing.packer import Packer
from ellq_client.packing.zstd import zstandard
from ellq_client.sinks import FileSink
from ellq_client.sources import Source
from ellq_client.values import TensorPlan


class PackedSink(FileSink):
    """Takes the dense stream and writes it packed; at most a block of it is in memory."""

    sizes: PackedSizes | None = None
    """What packing made of it; None before commit."""

    def __init__(self, path: Path, *, source: Source) -> None:
        """Check the place, and that weights can be packed here. Errors: OutputError, ExtraMissing."""
        super().__init__(path, source=source)
        zstandard()
        self._header = bytearray()
        self._packer: Packer | None = None

    def restart(self, plans: Sequence[TensorPlan]) -> None:
        """Empty the file."""
        super().restart(plans)
        self._header = bytearray()
        self._packer = None

    def write(self, data: memoryview, *, tensor: int | None) -> None:
        """Append to the file what is packed by now."""
        if tensor is None:
            self._header += data
            return
        for piece in self._begun().take(data):
            self._partial.write(piece)

    def commit(self) -> None:
        """Write what is left and the header, then let the file appear."""
        packer = self._begun()
        for piece in packer.finish():
            self._partial.write(piece)
        self._partial.rewrite(packer.header())
        super().commit()
        self.sizes = packer.sizes()

    def _begun(self) -> Packer:
        if self._packer is None:
            self._packer = Packer(bytes(self._header), name=str(self.path))
            self._partial.write(self._packer.opening)
        return self._packer
