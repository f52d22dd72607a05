"""A packed file on its way to its place."""

from collections.abc import Sequence
from pathlib import Path

from ellq_client.packing.entropies import PackedSizes
from ellq_client.packing.packer import PackedWriter, Packer
from ellq_client.packing.zstd import zstandard
from ellq_client.sinks import FileSink
from ellq_client.sources import Source
from ellq_client.values import TensorPlan


class PackedSink(FileSink):
    """Takes the dense stream and writes it packed; at most a block of it is in memory."""

    sizes: PackedSizes | None = None
    """What packing made of it; None before commit."""

    def __init__(self, path: Path, *, source: Source, replace: bool) -> None:
        """Check the place, and that weights can be packed here. Errors: OutputError, ExtraMissing."""
        super().__init__(path, source=source, replace=replace)
        zstandard()
        self._header = bytearray()
        self._writer: PackedWriter | None = None

    def restart(self, plans: Sequence[TensorPlan]) -> None:
        """Empty the file."""
        super().restart(plans)
        self._header = bytearray()
        self._writer = None

    def write(self, data: memoryview, *, tensor: int | None) -> None:
        """Append to the file what is packed by now."""
        if tensor is None:
            self._header += data
            return
        self._begun().take(data)

    def commit(self) -> None:
        """Write what is left and the header, then let the file appear."""
        sizes = self._begun().finish()
        super().commit()
        self.sizes = sizes

    def _begun(self) -> PackedWriter:
        if self._writer is None:
            packer = Packer(bytes(self._header), name=str(self.path))
            self._writer = PackedWriter(packer, write=self._partial.write, rewrite=self._partial.rewrite)
        return self._writer
