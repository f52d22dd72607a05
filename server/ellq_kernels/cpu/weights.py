"""What the CPU maker hands out for a loaded matrix."""

from dataclasses import dataclass, replace

from ellq_kernels.cpu.decoding import FORMATS, Format
from ellq_math.dtypes import WEIGHT_DTYPES, Bits
from ellq_math.network.weighing import KEY_MANTISSA_BITS
from ellq_math.sums import CHUNK


@dataclass(frozen=True)
class CpuWeights:
    """A weight matrix in host memory."""

    dtype: str
    neurons: int
    fan_in: int
    bits: Bits
    """(neurons * fan_in,), writable."""
    are_keys: bool = False
    """Whether they come from `weigh`."""

    @property
    def mantissa_bits(self) -> int:
        """Most mantissa bits that any of them uses."""
        return KEY_MANTISSA_BITS if self.are_keys else WEIGHT_DTYPES[self.dtype].mantissa_bits

    @property
    def count(self) -> int:
        """All weights."""
        return self.neurons * self.fan_in

    @property
    def chunks(self) -> int:
        """Chunks of all rows; a chunk never crosses rows."""
        return self.neurons * -(-self.fan_in // CHUNK)

    def row(self, index: int) -> "CpuWeights":
        """Return one row, of the same memory."""
        bits = self.bits[index * self.fan_in : (index + 1) * self.fan_in]
        return replace(self, neurons=1, bits=bits)

    @property
    def format(self) -> Format:
        """Constants that decode the bits."""
        return FORMATS[self.dtype]
