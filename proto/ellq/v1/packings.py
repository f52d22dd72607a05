"""Which tensors hold quantised layers, told from names and dtypes alone. Server and verifier go by the same table.

A quantised layer is several tensors that mean nothing one by one: integers that are codes, and the scales, zero points and
tables that turn them into numbers. Cutting a "small" scale would change a whole group of weights, so all of them pass through.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


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
class Packing:
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


_BYTES, _WORDS = frozenset({"U8", "I8"}), frozenset({"I32", "U32"})
_PACKED_INTEGERS = _BYTES | _WORDS | {"I16", "U16"}  # I64 are positions and indices
_INTEGERS = _BYTES | _WORDS | {"I16", "U16", "I64", "U64"}
_NF4 = (
    ".weight.nested_absmax", ".weight.nested_quant_map",
    ".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4",
)  # fmt: skip
_ZERO_AND_INPUT = (".weight_zero_point", ".weight_shape", ".weight_global_scale", ".input_scale", ".input_zero_point")

PACKINGS = (
    Packing("GPTQ", ".qweight", _WORDS, (".scales", ".g_idx"), (".qzeros",)),
    Packing("AWQ", ".qweight", _WORDS, (".scales", ".qzeros")),
    Packing(
        "compressed-tensors", ".weight_packed", _WORDS | _BYTES, (".weight_scale",),
        (*_ZERO_AND_INPUT, ".weight_g_idx", ".input_global_scale"),
    ),
    Packing("bitsandbytes 4-bit", ".weight", _BYTES, (".weight.absmax", ".weight.quant_map"), _NF4),
    Packing("bitsandbytes int8", ".weight", _BYTES, (".SCB",), (".weight_format",)),
    Packing("NVFP4", ".weight", _BYTES, (".weight_scale", ".weight_scale_2"), (".input_scale", ".pre_quant_scale")),
    Packing("MXFP4", "_blocks", _BYTES, ("_scales",)),
    Packing("MXFP4", ".blocks", _BYTES, (".scales",)),
    Packing("integers with scales", ".weight", _BYTES, (".weight_scale",), (*_ZERO_AND_INPUT, ".pre_quant_scale")),
    Packing("integers with scales", ".weight", _BYTES, (".scale",)),
    Packing("HQQ", ".W_q", _INTEGERS | {"F16", "BF16", "F32"}, (".scale", ".zero")),
    Packing("AQLM", ".codes", _INTEGERS, (".codebooks", ".scales")),
    Packing("Marlin", ".B", _WORDS, (".s",), (".workspace",)),
)  # fmt: skip
"""In order: the first that fits is taken. Sources: docs/dtypes.md."""

UNKNOWN = "unknown packing"
"""A matrix of integers with something beside it that is called like its scales: what nobody told us of is left alone, too."""

_TURNS_CODES = ("scale", "zero", "absmax", "codebook")
"""In the last part of a name, says that a tensor turns codes into numbers."""


@dataclass(frozen=True)
class Packed:
    """The quantised layers of a stream."""

    tensors: Mapping[str, str]
    """Name of each tensor of a quantised layer -> name of its packing."""
    layers: Mapping[str, int]
    """Name of each packing -> how many layers."""
    endings: frozenset[str]
    """How names of scales, zero points and tables end in the packings that are there."""


def find_packed(tensors: Sequence[Stored]) -> Packed:
    """Return the quantised layers, each with all of its tensors in this stream."""
    names = {_dotted(tensor.name) for tensor in tensors}
    found: dict[str, str] = {}
    layers: Counter[str] = Counter()
    endings: set[str] = set()
    for tensor in tensors:
        packing = _packing_of(tensor, names)
        if packing is None:
            continue
        layer = _dotted(tensor.name).removesuffix(packing.codes)
        layers[packing.name] += 1
        endings.update(packing.beside + packing.perhaps)
        members = (layer + ending for ending in (packing.codes, *packing.beside, *packing.perhaps))
        found.update((name.removeprefix("."), packing.name) for name in members if name in names)
    unknown = _find_unknown([tensor for tensor in tensors if tensor.name not in found])
    for members in unknown:
        found.update((name, UNKNOWN) for name in members)
    if unknown:
        layers[UNKNOWN] = len(unknown)
    return Packed(found, layers, frozenset(endings))


def _find_unknown(tensors: Iterable[Stored]) -> list[list[str]]:
    """Return the names of each group that looks like a quantised layer although no packing fits."""
    codes: dict[str, list[str]] = {}
    turning: dict[str, list[str]] = {}
    for tensor in tensors:
        layer, _, leaf = tensor.name.rpartition(".")
        if tensor.dtype in _PACKED_INTEGERS and len(tensor.shape) > 1:
            codes.setdefault(layer, []).append(tensor.name)
        elif any(word in leaf.lower() for word in _TURNS_CODES):
            turning.setdefault(layer, []).append(tensor.name)
    return [codes[layer] + turning[layer] for layer in codes if layer in turning]


def ends_with_any(name: str, endings: Iterable[str]) -> bool:
    """Return whether a name ends so; a bare "qweight" ends with ".qweight"."""
    return _dotted(name).endswith(tuple(endings))


def _packing_of(tensor: Stored, names: set[str]) -> Packing | None:
    dotted = _dotted(tensor.name)
    for packing in PACKINGS:
        if dotted.endswith(packing.codes) and tensor.dtype in packing.dtypes:
            layer = dotted.removesuffix(packing.codes)
            if all(layer + ending in names for ending in packing.beside):
                return packing
    return None


def _dotted(name: str) -> str:
    return f".{name}"
