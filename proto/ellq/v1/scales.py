"""Which tensors are scales of 8-bit floating point weights, and how they lie over them. Told from the header alone.

The real value of such a weight is its stored value times its scale, whatever the scale is called: `weight_scale_inv`, too.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import prod

from ellq.v1.quantized import QuantizedLayers, Stored, ends_with_any, layer_of, leaf_of, turns_codes
from ellq.v1.safetensors import FLOAT8

SCALE_DTYPES = ("F32", "BF16", "F16", "F8_E8M0")
"""The dtypes of scales by which a product with 8 bits is exact in float64."""

BLOCK = 128
"""Weights of a side of a block, where scales lie in blocks."""

_ALWAYS = (".weight_scale", ".weight_scale_inv", ".scale_weight")
"""Names that nothing but scales has, so that one whose weight is in another shard is known, too."""

_OF_WEIGHT = (*_ALWAYS, ".scale")
"""Beside `LAYER.weight`."""

_OF_OTHERS = ("_scale", "_scale_inv")
"""Behind the name of a weight that is called otherwise."""

_LIKE_SCALES = ("_scale", "_scales", "_scale_inv", "_scaling_factor")
"""How names end of what belongs to something called like the rest: no weights, even where that is in another shard."""

_OF_INPUTS = ("input", "output", "activation", "pre_quant", "k_scale", "v_scale", "q_scale")
"""In the last part of a name: scales what goes into a layer or comes out of it, not its weights."""

_WHOLE_LAYERS = ("weight", "_data", "_weight_qdata")
"""Last parts of names of weights that all of their layer belongs to."""


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


def find_scales(tensors: Sequence[Stored], quantized: QuantizedLayers) -> Scales:
    """Return the scales of all 8-bit weights that belong to no quantised layer of `quantized`."""
    by_name = {tensor.name: tensor for tensor in tensors if tensor.name not in quantized.tensors}
    matrices = [tensor for tensor in by_name.values() if _holds_weights(tensor)]
    candidates = {one.name: [name for name in _candidates(one.name) if name in by_name] for one in matrices}
    names = _names_of_scales(candidates, by_name)
    weights = [one for one in matrices if one.name not in names]
    unknown = _unknown_beside(weights, candidates, by_name)
    judged: dict[str, Scale | str | None] = {}
    for weight in weights:
        found = [by_name[name] for name in candidates[weight.name]]
        judged[weight.name] = _judge(weight, found, unknown.get(weight.name, ()), alone=not names)
    return Scales(
        names.union(*unknown.values(), _called_like_scales(by_name.values())),
        {name: scale for name, scale in judged.items() if isinstance(scale, Scale)},
        {name: why for name, why in judged.items() if isinstance(why, str)},
        tuple(name for name, scale in judged.items() if scale is None),
    )


def _names_of_scales(candidates: Mapping[str, Sequence[str]], by_name: Mapping[str, Stored]) -> frozenset[str]:
    """Return the names of scales that are known: beside their weights, or called as nothing else is.

    ".scale" is also what an ordinary layer may be called, so such names are believed only in a stream where one lies beside its
    weights; without them a scale whose weights are in another shard would be cut.
    """
    beside = {name for found in candidates.values() for name in found}
    endings = {leaf_of(name) for name in beside}
    return frozenset(beside) | {name for name in by_name if ends_with_any(name, _ALWAYS) or leaf_of(name) in endings}


def _called_like_scales(tensors: Iterable[Stored]) -> Iterator[str]:
    return (one.name for one in tensors if len(one.shape) > 1 and one.name.endswith(_LIKE_SCALES))


def _judge(weight: Stored, found: Sequence[Stored], unknown: Sequence[str], *, alone: bool) -> Scale | str | None:
    """Return the scale of a tensor, or why its real values cannot be known; None: they are the stored ones.

    `unknown` is what lies beside it and may change it; `alone`: the stream has no scales.
    """
    if unknown:
        return f"what {unknown[0]} beside it does to it is not known"
    return None if alone and not found else _fit(weight, found)


def _unknown_beside(
    weights: Sequence[Stored], candidates: Mapping[str, Sequence[str]], by_name: Mapping[str, Stored]
) -> dict[str, list[str]]:
    """Return the names of what seems to turn weights into other numbers although it is no scale that is known: by weights."""
    layers: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in sorted(by_name, key=leaf_of):
        leaf = leaf_of(name)
        if turns_codes(leaf) and not any(word in leaf for word in _OF_INPUTS):
            layers[layer_of(name)].append((leaf, name))
    found: dict[str, list[str]] = {}
    for weight in weights:
        leaf, beside = leaf_of(weight.name), layers[layer_of(weight.name)]
        near = beside if leaf in _WHOLE_LAYERS else _beginning_with(leaf, beside)
        if unknown := [name for _, name in near if name not in candidates[weight.name] and name != weight.name]:
            found[weight.name] = unknown
    return found


def _beginning_with(leaf: str, beside: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield those of the sorted pairs whose leaf begins so. A layer may have as many weights and scales as a header tensors."""
    places = range(bisect_left(beside, (leaf, "")), len(beside))
    return takewhile(lambda one: one[0].startswith(leaf), (beside[place] for place in places))


def _holds_weights(tensor: Stored) -> bool:
    if tensor.dtype not in FLOAT8 or ends_with_any(tensor.name, _ALWAYS):
        return False
    return len(tensor.shape) > 1 and prod(tensor.shape) > 0


def _candidates(weight: str) -> list[str]:
    stem = f".{weight}".removesuffix(".weight")
    if stem == f".{weight}":
        return [weight + ending for ending in _OF_OTHERS]
    return [(stem + ending).removeprefix(".") for ending in _OF_WEIGHT]


def _fit(weight: Stored, found: Sequence[Stored]) -> Scale | str:
    """Return the scale of a tensor, or why its real values cannot be known from what comes before it."""
    if not found:
        return "other tensors of this stream have scales, its own is not here"
    if len(found) > 1:
        return f"it has several scales: {', '.join(one.name for one in found)}"
    scale = found[0]
    if scale.dtype not in SCALE_DTYPES:
        return f"its scale {scale.name} is {scale.dtype}, not one of {', '.join(SCALE_DTYPES)}"
    grid = _grid(weight.shape, scale.shape)
    if grid is None:
        allowed = f"one number, one for each row, or one for each block of {BLOCK} x {BLOCK}"
        return f"its scale {scale.name} has shape {list(scale.shape)}, which is not {allowed} of {list(weight.shape)}"
    if scale.begin >= weight.begin:
        return f"its scale {scale.name} comes after it in the stream"
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
