"""What the reference maker hands out for a loaded matrix."""

from dataclasses import dataclass

import torch

from ellq_kernels.reference.arithmetic import FLOATS, decode
from ellq_math.dtypes import WEIGHT_DTYPES
from ellq_math.network.weighing import KEY_MANTISSA_BITS


@dataclass(frozen=True)
class ReferenceWeights:
    """A weight matrix as a tensor of signed integers, because torch knows most operations for these alone."""

    dtype: str
    neurons: int
    fan_in: int
    bits: torch.Tensor
    """(neurons, fan_in) int16, int32 or int64."""
    are_keys: bool = False
    """Whether they come from `weigh`."""

    @property
    def mantissa_bits(self) -> int:
        """Most mantissa bits that any of them uses."""
        return KEY_MANTISSA_BITS if self.are_keys else WEIGHT_DTYPES[self.dtype].mantissa_bits

    def values(self) -> torch.Tensor:
        """Return w in float64. Shape: (neurons, fan_in)."""
        return self.bits.view(FLOATS[self.dtype]).double()

    def magnitudes(self) -> torch.Tensor:
        """Return |w| in float64. Shape: (neurons, fan_in)."""
        return decode(self.bits, self.dtype)
