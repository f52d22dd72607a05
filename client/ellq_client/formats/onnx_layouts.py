"""How ONNX operators lay out the weights that they take. What no known operator takes as weights is left alone."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TypeAlias

import onnx

from ellq.v1.safetensors import TABLE_NAMES
from ellq_client.formats.layouts import Layout, left_alone
from ellq_client.formats.onnx_graph import Site, Use

Axes: TypeAlias = tuple[int, ...]
"""The axes that number the neurons, as the node sees them."""

_DOMAINS = ("", "ai.onnx", "com.microsoft")
_GATHERING = ("Gather", "GatherElements", "GatherND", "EmbedLayerNormalization", "SkipEmbedLayerNormalization")


def layout_of(site: Site) -> Layout | None:
    """Return how a tensor departs from (out, in), judged by every node that takes it; None: it does not."""
    if not site.uses:
        return left_alone("no node takes it")
    told = [_layout(use, site) for use in site.uses]
    alone = next((layout for layout in told if layout.left_alone), None)
    if alone is not None:
        return alone
    if any(layout.neuron_axis != told[0].neuron_axis for layout in told):
        return left_alone("nodes take it in different layouts")
    return None if told[0].neuron_axis == (0,) else told[0]


def _layout(use: Use, site: Site) -> Layout:
    node, taken = use.node, f"input {use.place} of {use.node.op_type}"
    if node.op_type in _GATHERING and use.place == 0:
        return left_alone(f"a table of rows: {taken}")
    if any(fnmatchcase(f"{node.name}.", glob) for glob in TABLE_NAMES):
        return left_alone(f"a table of rows: {taken} {node.name!r}")
    read = _WEIGHTS.get((node.op_type, use.place)) if node.domain in _DOMAINS else None
    sizes = [1 if axis is None else site.tensor.dims[axis] for axis in use.axes]
    axes = None if read is None else read(_attributes(node), sizes)
    if axes is None or max(axes) >= len(sizes):
        return left_alone(f"no weights of a layer: {taken}")
    stored = tuple(sorted(found for axis in axes if (found := use.axes[axis]) is not None))
    return Layout(f"weights of a layer: {taken}", neuron_axis=stored)


def _attributes(node: onnx.NodeProto) -> dict[str, int]:
    """Return the integers that a node has for attributes; 0 stands for what is none."""
    return {one.name: one.i for one in node.attribute}


def _right_factor(attributes: dict[str, int], sizes: list[int]) -> Axes | None:
    """Of x @ W: the last axis, and those that number the matrices of a stack."""
    last = len(sizes) - (2 if attributes.get("transB") else 1)
    return (*range(len(sizes) - 2), last) if len(sizes) > 1 else None


def _left_factor(attributes: dict[str, int], sizes: list[int]) -> Axes | None:
    """Of W @ x: the last axis but one, and those that number the matrices of a stack."""
    last = len(sizes) - (1 if attributes.get("transA") else 2)
    return (*range(len(sizes) - 2), last) if len(sizes) > 1 else None


def _rows(attributes: dict[str, int], sizes: list[int]) -> Axes | None:
    return (0,)


def _columns(attributes: dict[str, int], sizes: list[int]) -> Axes | None:
    return (1,)


def _transposed_convolution(attributes: dict[str, int], sizes: list[int]) -> Axes | None:
    """Of (in, out / groups, ...): with one input a group both axes number neurons; else groups have no axis of their own."""
    groups = attributes.get("group", 1)
    if len(sizes) < 2:
        return None
    if groups == 1:
        return (1,)
    return (0, 1) if groups == sizes[0] else None


def _recurrent(attributes: dict[str, int], sizes: list[int]) -> Axes | None:
    """Of (directions, gates x hidden, in)."""
    return (0, 1) if len(sizes) == 3 else None


_Reader: TypeAlias = Callable[[dict[str, int], list[int]], Axes | None]

_WEIGHTS: dict[tuple[str, int], _Reader] = {
    **{(kind, 1): _right_factor for kind in ("MatMul", "FusedMatMul", "Gemm", "FusedGemm")},
    **{(kind, 0): _left_factor for kind in ("MatMul", "FusedMatMul", "Gemm", "FusedGemm")},
    **{(kind, 1): _rows for kind in ("Conv", "FusedConv")},
    **{(kind, place): _recurrent for kind in ("LSTM", "GRU", "RNN") for place in (1, 2)},
    ("ConvTranspose", 1): _transposed_convolution,
    ("Attention", 1): _columns,
}
"""How to find the neurons, by operator and input. Both inputs of a product can be constant, but seldom are."""
