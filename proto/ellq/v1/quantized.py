"""Which tensors hold quantised layers, told from a header alone. Server and verifier go by the same table.

A quantised layer is several tensors that mean nothing one by one: integers that are codes, and the scales, zero points and
tables that turn them into numbers. Cutting a "small" scale would change a whole group of weights, so all of them pass through.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ellq.v1.safetensors import FLOAT8


class Stored(Protocol):
    """A tensor as a header describes it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def dtype(self) -> str:
        """As safetensors writes it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """As stored."""
        ...

    @property
    def begin(self) -> int:
        """Its first byte, from any fixed place of the stream."""
        ...


@dataclass(frozen=True)
class QuantizedLayout:
    """One way to store a quantised layer. All names are endings; what is before them is the layer."""

    name: str
    codes: str
    """The tensor of integers."""
    dtypes: frozenset[str]
    """What the codes are stored in."""
    beside: tuple[str, ...]
    """Tensors that must be there, too: without them the codes are ordinary integers."""
    perhaps: tuple[str, ...] = ()
    """Tensors that belong to the layer where they are there."""
    as_wide: str = ""
    """Which of them has as many columns as the codes, where another layout has the same names; empty: none needs to."""


_BYTES, _WORDS = frozenset({"U8", "I8"}), frozenset({"I32", "U32"})
_SHORT_INTEGERS = _BYTES | _WORDS | {"I16", "U16"}  # I64 are positions and indices
_INTEGERS = _SHORT_INTEGERS | {"I64", "U64"}
_NF4 = (
    ".weight.nested_absmax", ".weight.nested_quant_map",
    ".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4",
)  # fmt: skip
_ZERO_AND_INPUT = (".weight_zero_point", ".weight_shape", ".weight_global_scale", ".input_scale", ".input_zero_point")

LAYOUTS = (
    QuantizedLayout("GPTQ", ".qweight", _WORDS, (".scales", ".g_idx"), (".qzeros",)),
    QuantizedLayout("GPTQ", ".qweight", _WORDS, (".scales", ".qzeros"), as_wide=".scales"),  # it packs along the inputs
    QuantizedLayout("AWQ", ".qweight", _WORDS, (".scales", ".qzeros")),
    QuantizedLayout(
        "compressed-tensors", ".weight_packed", _WORDS | _BYTES, (".weight_scale",),
        (*_ZERO_AND_INPUT, ".weight_g_idx", ".input_global_scale"),
    ),
    QuantizedLayout("bitsandbytes 4-bit", ".weight", _BYTES, (".weight.absmax", ".weight.quant_map"), _NF4),
    QuantizedLayout("bitsandbytes int8", ".weight", _BYTES, (".SCB",), (".weight_format",)),
    QuantizedLayout("NVFP4", ".weight", _BYTES, (".weight_scale", ".weight_scale_2"), (".input_scale", ".pre_quant_scale")),
    QuantizedLayout("MXFP4", "_blocks", _BYTES, ("_scales",)),
    QuantizedLayout("MXFP4", ".blocks", _BYTES, (".scales",)),
    QuantizedLayout("integers with scales", ".weight", _BYTES, (".weight_scale",), (*_ZERO_AND_INPUT, ".pre_quant_scale")),
    QuantizedLayout("integers with scales", ".weight", _BYTES, (".scale",)),
    QuantizedLayout("HQQ", ".W_q", _INTEGERS | {"F16", "BF16", "F32"}, (".scale", ".zero")),
    QuantizedLayout("AQLM", ".codes", _INTEGERS, (".codebooks", ".scales")),
    QuantizedLayout("Marlin", ".B", _WORDS, (".s",), (".workspace",)),
    QuantizedLayout("MLX", ".weight", _WORDS, (".scales",), (".biases",)),
)  # fmt: skip
"""In order: the first that fits is taken. Sources: docs/dtypes.md."""

UNKNOWN = "unknown layout"
"""A matrix of integers with something beside it that is called like its scales: what nobody told us of is left alone, too."""

_TURNS_CODES = ("scale", "scaling", "zero", "shift", "absmax", "codebook", "centroid", "table", "biases")
"""In a name, says that a tensor turns codes into numbers."""

_INNER = ("._data", ".meta")
"""What quantising libraries put between a layer and its tensors."""


@dataclass(frozen=True)
class QuantizedLayers:
    """The quantised layers of a stream."""

    tensors: Mapping[str, str]
    """Name of each tensor of a quantised layer -> name of its layout."""
    layers: Mapping[str, int]
    """Name of each layout -> how many layers."""
    endings: tuple[str, ...]
    """How names of scales, zero points and tables end in the layouts that are there."""
    leaves: frozenset[str]
    """Last parts of their names in layers of no known layout: as many as a header has tensors, where endings are a few."""


def find_quantized(tensors: Sequence[Stored]) -> QuantizedLayers:
    """Return the quantised layers, each with all of its tensors in this stream."""
    by_name = {_dotted(tensor.name): tensor for tensor in tensors}
    found: dict[str, str] = {}
    layers: Counter[str] = Counter()
    endings: set[str] = set()
    leaves: set[str] = set()
    for tensor in tensors:
        layout = _layout_of(tensor, by_name)
        if layout is None:
            continue
        layer = _dotted(tensor.name).removesuffix(layout.codes)
        layers[layout.name] += 1
        endings.update(layout.beside + layout.perhaps)
        members = (layer + ending for ending in (layout.codes, *layout.beside, *layout.perhaps))
        found.update((name.removeprefix("."), layout.name) for name in members if name in by_name)
    unknown = _find_unknown([tensor for tensor in tensors if tensor.name not in found])
    for members in unknown:
        found.update((name, UNKNOWN) for name in members)
        leaves.update(leaf for leaf in map(leaf_of, members) if turns_codes(leaf))
    if unknown:
        layers[UNKNOWN] = len(unknown)
    return QuantizedLayers(found, layers, tuple(sorted(endings)), frozenset(leaves))


def _find_unknown(tensors: Sequence[Stored]) -> list[set[str]]:
    """Return the names of each group that looks like a quantised layer although no layout fits.

    A group is a matrix of integers, what lies beside it, and what is called like its scales one level further down.
    """
    float8 = {layer_of(one.name) for one in tensors if _is_float8_matrix(one)}
    codes: set[str] = set()
    turning: defaultdict[str, set[str]] = defaultdict(set)
    beside: defaultdict[str, set[str]] = defaultdict(set)
    for tensor in tensors:
        layer, turns = layer_of(tensor.name), turns_codes(leaf_of(tensor.name))
        beside[layer].add(tensor.name)
        zero_points = turns and layer in float8  # of the weights of 8 bits, which ellq.v1.scales judges by their scale
        if tensor.dtype in _SHORT_INTEGERS and len(tensor.shape) > 1 and not zero_points:
            codes.add(layer)
        elif turns:
            turning[layer].add(tensor.name)
        if layer and turns_codes(leaf_of(layer)):
            turning[layer_of(layer)].add(tensor.name)
    # names without a dot are those of a whole model: of them only what is called so belongs together
    return [turning[layer] | (beside[layer] if layer else _matrices(tensors)) for layer in sorted(codes) if turning[layer]]


def _matrices(tensors: Iterable[Stored]) -> set[str]:
    """Return the names without a dot of matrices of integers."""
    return {one.name for one in tensors if "." not in one.name and one.dtype in _SHORT_INTEGERS and len(one.shape) > 1}


def _is_float8_matrix(tensor: Stored) -> bool:
    return tensor.dtype in FLOAT8 and len(tensor.shape) > 1 and not turns_codes(leaf_of(tensor.name))


def layer_of(name: str) -> str:
    """Return the name of the layer that a tensor belongs to; empty for names without a dot."""
    layer = name.rpartition(".")[0]
    for inner in _INNER:
        layer = layer.removesuffix(inner)
    return layer


def leaf_of(name: str) -> str:
    """Return the last part of a name."""
    return name.rpartition(".")[2]


def turns_codes(leaf: str) -> bool:
    """Return whether the last part of a name says that a tensor turns codes into numbers."""
    return any(word in leaf.lower() for word in _TURNS_CODES)


def ends_with_any(name: str, endings: tuple[str, ...]) -> bool:
    """Return whether a name ends so; a bare "qweight" ends with ".qweight"."""
    return _dotted(name).endswith(endings)


def _layout_of(tensor: Stored, by_name: Mapping[str, Stored]) -> QuantizedLayout | None:
    dotted = _dotted(tensor.name)
    for layout in LAYOUTS:
        if dotted.endswith(layout.codes) and tensor.dtype in layout.dtypes:
            layer = dotted.removesuffix(layout.codes)
            beside = {ending: by_name.get(layer + ending) for ending in layout.beside}
            if all(beside.values()) and _is_as_wide(tensor, beside.get(layout.as_wide)):
                return layout
    return None


def _is_as_wide(codes: Stored, other: Stored | None) -> bool:
    """Return whether two tensors have as many columns; true where there is no other."""
    return other is None or codes.shape[-1:] == other.shape[-1:]


def _dotted(name: str) -> str:
    return f".{name}"
