"""How the convolutions of torch pad, as the contract says it. No torch is imported here."""

from typing import Any


def paddings_of(module: Any) -> tuple[int, ...]:
    """Return (begin, end) of each spatial axis, first axis first, of a ConvNd."""
    padding = module.padding
    if padding == "valid":
        return (0,) * (2 * len(module.kernel_size))
    if padding == "same":  # an odd total is one longer at the end
        totals = [step * (taps - 1) for step, taps in zip(module.dilation, module.kernel_size, strict=True)]
        return tuple(side for total in totals for side in (total // 2, total - total // 2))
    return tuple(side for one in padding for side in (one, one))
