"""What the GPU maker hands out for a loaded matrix: the only copy lies on the device."""

from dataclasses import dataclass, field

import torch

from ellq_kernels.reference.weights import ReferenceWeights
from ellq_math.values import Cut


@dataclass(frozen=True)
class Marks:
    """A cut as kernels read it: a weight stays if key >= above, or if key == above - 1 and it comes before `end`."""

    above: torch.Tensor
    """(groups,) int64 keys."""
    end: torch.Tensor
    """(groups,) int64: place in the group behind the last tie that stays; 0 when none does."""


@dataclass
class Choice:
    """The cut that was last chosen from a matrix, with its marks, so that `apply` need not look for the ties again."""

    cut: Cut | None = None
    marks: Marks | None = None

    def remember(self, cut: Cut, marks: Marks) -> None:
        """Keep the marks of a cut as long as the weights do not change."""
        self.cut, self.marks = cut, marks

    def recall(self, cut: Cut) -> Marks | None:
        """Return the marks of this very cut."""
        return self.marks if self.cut is cut else None

    def forget(self) -> None:
        """Drop what holds no longer."""
        self.cut = self.marks = None


@dataclass(frozen=True)
class TritonWeights(ReferenceWeights):
    """The reference maker's weights, signed integers of shape (neurons, fan_in), with what was chosen from them."""

    choice: Choice = field(default_factory=Choice, compare=False, repr=False)

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.bits.device
