"""Which tensors are scales of 8-bit floating point weights, and how they lie over them. Told from the header alone.

The real value of such a weight is its stored value times its scale, whatever the scale is called: `weight_scale_inv`, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ellq.v1.packings import Packed, Stored, ends_with_any

FLOAT8 = ("F8_E4M3", "F8_E5M2")
"""The dtypes of 8 bits that are compressed."""

SCALE_DTYPES = ("F32", "BF16", "F16", "F8_E8M0")
"""The dtypes of scales by which a product with 8 bits is exact in float64."""

BLOCK = 128
"""Weights of a side of a block, where scales lie in blocks."""

_ALWAYS = (".weight_scale", ".weight_scale_inv", ".scale_weight")
"""Names that nothing but scales has, so that one whose weight is in another shard is known, too."""

_OF_WEIGHT = (".weight_scale", ".weight_scale_inv", ".scale_weight", ".scale")
"""Beside `LAYER.weight`."""

_OF_OTHERS = ("_scale", "_scale_inv")
"""Behind the name of a weight that is called otherwise."""


@dataclass(frozen=True)
class Scale:
    """The scale of one tensor of weights."""

    name: str
    dtype: str
    grid: tuple[int, ...]
    """Its shape, with as many axes as the weights."""
    block: tuple[int, ...]
    """How many weights along each axis share a number; the last block of an axis may be shorter."""


@dataclass(frozen=True)
class Scales:
    """The scales of a stream."""

    names: frozenset[str]
    """Tensors that are scales, used or not."""
    usable: Mapping[str, Scale]
    """Name of a tensor of weights -> its scale, which comes before it."""
    unusable: Mapping[str, str]
    """Name of a tensor of weights whose real values cannot be known -> why."""
    without: tuple[str, ...]
    """Names of 8-bit tensors in a stream without scales: their stored values are their values."""


def find_scales(tensors: Sequence[Stored], packed: Packed) -> Scales:
    """Return the scales of all 8-bit weights that belong to no quantised layer of `packed`."""
    by_name = {tensor.name: tensor for tensor in tensors if tensor.name not in packed.tensors}
    weights = [tensor for tensor in by_name.values() if _holds_weights(tensor)]
    candidates = {weight.name: [name for name in _candidates(weight.name) if name in by_name] for weight in weights}
    endings = {name.rpartition(".")[2] for names in candidates.values() for name in names}
    names = {name for names in candidates.values() for name in names}
    names |= {name for name in by_name if ends_with_any(name, _ALWAYS) or name.rpartition(".")[2] in endings}
    usable: dict[str, Scale] = {}
    unusable: dict[str, str] = {}
    without: list[str] = []
    for weight in weights:
        if weight.name in names:
            continue
        found = [by_name[name] for name in candidates[weight.name]]
        if not found and not names:
            without.append(weight.name)
        elif (why := _objection(weight, found, by_name)) is not None:
            unusable[weight.name] = why
        else:
            usable[weight.name] = _fit(weight, found[0])
    return Scales(frozenset(names), usable, unusable, tuple(without))


def _holds_weights(tensor: Stored) -> bool:
    if tensor.dtype not in FLOAT8 or ends_with_any(tensor.name, _ALWAYS):
        return False
    return len(tensor.shape) > 1 and prod(tensor.shape) > 0


def _candidates(weight: str) -> list[str]:
    stem = f".{weight}".removesuffix(".weight")
    if stem == f".{weight}":
        return [weight + ending for ending in _OF_OTHERS]
    return [(stem + ending).removeprefix(".") for ending in _OF_WEIGHT]


def _objection(weight: Stored, found: Sequence[Stored], by_name: Mapping[str, Stored]) -> str | None:
    """Return why the real values of a tensor cannot be known from what comes before it; None when they can."""
    if not found:
        return "other tensors of this stream have scales, its own is not here"
    if len(found) > 1:
        return f"it has several scales: {', '.join(one.name for one in found)}"
    scale = found[0]
    if f"{weight.name}_zero_point" in by_name:
        return f"it has a zero point beside its scale {scale.name}"
    if scale.dtype not in SCALE_DTYPES:
        return f"its scale {scale.name} is {scale.dtype}, not one of {', '.join(SCALE_DTYPES)}"
    if _grid(weight.shape, scale.shape) is None:
        allowed = f"one number, one for each row, or one for each block of {BLOCK} x {BLOCK}"
        return f"its scale {scale.name} has shape {list(scale.shape)}, which is not {allowed} of {list(weight.shape)}"
    if scale.begin >= weight.begin:
        return f"its scale {scale.name} comes after it in the stream"
    return None


def _fit(weight: Stored, scale: Stored) -> Scale:
    grid = _grid(weight.shape, scale.shape)
    assert grid is not None
    sides = zip(weight.shape, grid, strict=True)
    return Scale(scale.name, scale.dtype, grid, tuple(_side(length, cells) for length, cells in sides))


def _grid(shape: tuple[int, ...], scale: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape of a scale with the axes of its weights; None when it does not lie over them in a way that is known."""
    if prod(scale) == 1:
        return (1,) * len(shape)
    if len(scale) == 1 and len(shape) > 1 and scale[0] == shape[0]:
        return (*scale, *(1 for _ in shape[1:]))  # a number for each row, not for each column as broadcasting has it
    if len(scale) != len(shape):
        return None
    sides = list(zip(shape, scale, strict=True))
    if all(cells in (1, length) for length, cells in sides):
        return scale
    leading, blocks = sides[:-2], sides[-2:]
    fits = all(cells == length for length, cells in leading) and all(cells == -(-length // BLOCK) for length, cells in blocks)
    return scale if fits else None


def _side(length: int, cells: int) -> int:
    if cells == 1:
        return length
    return 1 if cells == length else BLOCK
