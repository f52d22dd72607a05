"""The numbers of a network's tensors, before and after they were changed."""

from typing import Protocol

from ellq_math.sums import Array


class Tensors(Protocol):
    """Decodes tensors when they are asked for, so that a certificate holds no more than a layer at a time."""

    def original(self, name: str) -> Array:
        """Return the tensor as it came: float64, stored shape, finite."""
        ...

    def changed(self, name: str) -> Array:
        """Return the tensor as it goes: float64, the same shape, finite."""
        ...
