"""What becomes of tensors that are no weights by themselves: parts of quantised layers, and scales."""

from collections.abc import Sequence
from dataclasses import dataclass

from ellq.v1.quantized import QuantizedLayers, Stored, ends_with_any, find_quantized, leaf_of
from ellq.v1.scales import Scale, Scales, find_scales

QUANTIZED, SCALE, SCALE_UNUSABLE = "quantized", "scale", "scale_unusable"
"""Why a tensor passes through: names of PassThroughReason, without their prefix and in small letters."""


@dataclass(frozen=True)
class Meanings:
    """What names, dtypes and shapes of a stream tell."""

    quantized: QuantizedLayers
    scales: Scales

    def reason(self, name: str) -> str | None:
        """Return why a tensor passes through, whatever anybody asks; None: it is weights, or nothing known."""
        scales = self.scales
        if name in self.quantized.tensors:
            return QUANTIZED
        if name in scales.names:
            return SCALE
        if name in scales.unusable:
            return SCALE_UNUSABLE
        # scales and zero points of a layer whose codes are in another shard
        quantized = self.quantized
        orphan = ends_with_any(name, quantized.endings) or leaf_of(name) in quantized.leaves
        return QUANTIZED if orphan and name not in scales.usable else None

    def scale_of(self, name: str) -> Scale | None:
        """Return the scale that turns stored values of this tensor into real ones."""
        return self.scales.usable.get(name)


def read_meanings(tensors: Sequence[Stored]) -> Meanings:
    """Return what a header tells of its tensors."""
    quantized = find_quantized(tensors)
    return Meanings(quantized, find_scales(tensors, quantized))
