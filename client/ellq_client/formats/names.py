"""What names and shapes alone tell of how tensors lie. Nothing is guessed: without evidence the defaults hold."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeAlias

from ellq.v1.safetensors import TABLE_NAMES
from ellq_client.formats.layouts import Layout, left_alone

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_TABLES = ("*embd*", "*token_type*", "*pos_emb*", "*positional*", "*relative_position*", "*cls_token", "*mask_token")
"""Tables of rows whose names the service does not know for such."""

_BIAS = re.compile(r"(^|[._/])bias(_\w+)?(:0)?$|bias[./](weight|kernel)(:0)?$")
_NORM = re.compile(
    r"(^|[./])(\w*norm(_\w+|\d+)?|ln(_\w+|\d+)?|\w+_ln|bn\d*)[./](weight|bias|scale|gamma|beta)(:0)?$", re.IGNORECASE
)
_NORMED_LENGTHS = re.compile(r"(weight_g|parametrizations\.weight\.original0)$")
_KERNEL = re.compile(r"(^|[./])kernel(:0)?$")
_CONV1D = re.compile(r"(^|\.)(c_attn|c_fc|c_proj|q_attn)\.weight$")
_TRANSPOSED = re.compile(r"transpose|deconv|upconv|up_conv", re.IGNORECASE)

_IN_OUT = "stored (in, out): its bias has an entry for each of axis 1"


def layouts_by_name(shapes: Shapes) -> dict[str, Layout]:
    """Return the layouts that differ from the defaults, of tensors with two or more axes."""
    has_conv1d = any(_CONV1D.search(name) and _bias_counts_axis_1(name, shape, shapes) for name, shape in shapes.items())
    found: dict[str, Layout] = {}
    for name, shape in shapes.items():
        layout = None if len(shape) < 2 else _untouched(name, shapes) or _axes(name, shape, shapes, has_conv1d=has_conv1d)
        if layout is not None:
            found[name] = layout
    return found


def is_table(name: str) -> bool:
    """Return whether a name says table of rows, to the service or here."""
    return any(fnmatchcase(name, glob) for glob in (*TABLE_NAMES, *_TABLES))


def _untouched(name: str, shapes: Shapes) -> Layout | None:
    if any(fnmatchcase(name, glob) for glob in TABLE_NAMES):
        return None  # the service says it itself, and takes it in when asked to
    if shapes.get(_bias_of(name)) == shapes[name]:
        return left_alone("a norm: its bias has the same shape")
    if any(fnmatchcase(name, glob) for glob in _TABLES):
        return left_alone("a table of rows by its name")
    if _BIAS.search(name):
        return left_alone("a bias by its name")
    if _NORM.search(name):
        return left_alone("a norm by its name")
    return left_alone("the lengths of weight-normed rows") if _NORMED_LENGTHS.search(name) else None


def _axes(name: str, shape: tuple[int, ...], shapes: Shapes, *, has_conv1d: bool) -> Layout | None:
    if "experts" in name and len(shape) == 3:
        return _stacked(name, shapes)
    if _KERNEL.search(name):
        return Layout("Keras and Flax store kernels (..., in, out)", neuron_axis=(len(shape) - 1,))
    if _bias_counts_axis_1(name, shape, shapes):
        return Layout(_IN_OUT, neuron_axis=(1,))
    square = shape[0] == shape[1]
    if square and len(shape) == 2 and has_conv1d and _CONV1D.search(name):
        return Layout("a Conv1D of Hugging Face, stored (in, out) as others in this file are", neuron_axis=(1,))
    if square and len(shape) > 2 and _TRANSPOSED.search(name):
        return Layout("a transposed convolution by its name, stored (in, out, ...)", neuron_axis=(1,))
    return None


def _bias_counts_axis_1(name: str, shape: tuple[int, ...], shapes: Shapes) -> bool:
    """Return whether there is a bias for each of axis 1 and not of axis 0: HF Conv1D, transposed convolutions."""
    bias = shapes.get(_bias_of(name), ())
    return len(shape) > 1 and len(bias) == 1 and bias[0] == shape[1] != shape[0]


def _bias_of(name: str) -> str:
    """Return what the bias beside a weight is called; nothing for another tensor."""
    return f"{name.removesuffix('weight')}bias" if name.endswith("weight") else ""


def _stacked(name: str, shapes: Shapes) -> Layout:
    """Tell (expert, in, out) from (expert, out, in) by the two matrices of one expert, of which one has both gate and up."""
    stem = name.rpartition(".")[0]
    gate_up, down = shapes.get(f"{stem}.gate_up_proj", ()), shapes.get(f"{stem}.down_proj", ())
    if len(gate_up) == len(down) == 3 and gate_up[1] == down[2] and gate_up[2] == 2 * down[1]:
        return Layout("stacked experts: (expert, in, out)", neuron_axis=(0, 2))
    return Layout("stacked experts: (expert, out, in)", neuron_axis=(0, 1))
