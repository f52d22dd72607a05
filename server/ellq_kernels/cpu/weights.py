"""What the CPU maker hands out for a loaded matrix."""

from dataclasses import dataclass

from ellq_kernels.cpu.decoding import FORMATS, Format
from ellq_math.dtypes import Bits
from ellq_math.sums import CHUNK


@dataclass(frozen=True)
class CpuWeights:
    """A weight matrix in host memory."""

    dtype: str
    neurons: int
    fan_in: int
    bits: Bits
    """(neurons * fan_in,), writable."""

    @property
    def count(self) -> int:
        """All weights."""
        return self.neurons * self.fan_in

    @property
    def chunks(self) -> int:
        """Chunks of all rows; a chunk never crosses rows."""
        return self.neurons * -(-self.fan_in // CHUNK)

    @property
    def format(self) -> Format:
        """Constants that decode the bits."""
        return FORMATS[self.dtype]
