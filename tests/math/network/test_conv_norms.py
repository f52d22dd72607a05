import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.network import conv_norms
from ellq_math.network.conv_norms import conv_norm_bound, symbol_norm_bound
from ellq_math.network.nodes import Conv, Input, Node, Topology
from ellq_math.network.topology import read_graph
from ellq_math.spectral import GRAM_STEPS, spectral_norm_bound
from ellq_math.sums import UNIT_ROUNDOFF

from .networks import evaluate

seeds = st.integers(0, 2**32 - 1)


def library_norm(matrix):
    """The library's largest singular value, less what it may be off by: a modest multiple of its sizes, LAPACK's bound."""
    return np.linalg.norm(matrix, 2) * (1 - 10 * max(matrix.shape) * UNIT_ROUNDOFF)


def random_conv(rng):
    """Return a step and its kernel, in one or two dimensions, with all that a convolution can have."""
    axes, groups = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    shape = (2 * groups, *rng.integers(5, 8, axes).tolist())
    sizes = np.exp(rng.standard_normal((3 * groups, 1, *(1,) * axes)))
    kernel = rng.standard_normal((3 * groups, 2, *rng.integers(1, 4, axes))) * sizes
    conv = Conv(
        "kernel",
        stride=tuple(rng.integers(1, 4, axes).tolist()),
        padding=tuple(rng.integers(0, 3, 2 * axes).tolist()),
        dilation=tuple(rng.integers(1, 3, axes).tolist()),
        groups=groups,
    )
    nodes = Node("x", (), Input(shape)), Node("y", ("x",), conv)
    return read_graph(Topology(nodes), {"kernel": kernel.shape}).step("y"), kernel


def explicit_matrix(step, kernel):
    """Return the convolution as a matrix, one column for each unit input."""
    (shape,) = step.input_shapes
    units = np.eye(math.prod(shape)).reshape(-1, *shape)
    return evaluate(step.node.operation, [units], {"kernel": kernel}).reshape(len(units), -1).T


@given(seeds)
def test_a_convolution_is_never_below_its_explicit_matrix(seed):
    step, kernel = random_conv(np.random.default_rng(seed))
    assert conv_norm_bound(kernel, step) >= library_norm(explicit_matrix(step, kernel))


@given(seeds)
def test_symbols_alone_are_never_below_the_explicit_matrix(seed):
    """Without stride, dilation and groups; the least of several bounds would hide a wrong one."""
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((3, 2, *rng.integers(1, 4, 2)))
    lengths = rng.integers(4, 8, 2).tolist()
    nodes = Node("x", (), Input((2, *lengths))), Node("y", ("x",), Conv("kernel"))
    step = read_graph(Topology(nodes), {"kernel": kernel.shape}).step("y")
    assert symbol_norm_bound(kernel, lengths) >= library_norm(explicit_matrix(step, kernel))


@pytest.mark.parametrize("padding", [(0, 0, 2, 0), (0, 0, 0, 2)])
def test_a_torus_has_room_for_the_padding_of_its_own_axis(padding):
    """Differences of three neighbours and a zero beside them: 1.8, where a torus of 3 would say sqrt 3."""
    nodes = Node("x", (), Input((1, 1, 3))), Node("y", ("x",), Conv("kernel", padding=padding))
    kernel = np.array([1.0, -1.0]).reshape(1, 1, 1, 2)
    step = read_graph(Topology(nodes), {"kernel": kernel.shape}).step("y")
    assert conv_norm_bound(kernel, step) >= library_norm(explicit_matrix(step, kernel)) > 1.8


@given(seeds)
def test_a_coarse_grid_stands_for_every_frequency(seed):
    """On a torus of 997 positions the grid of 16 frequencies a tap is used; the truth is looked for at all 997."""
    kernel = np.random.default_rng(seed).standard_normal((3, 2, 4))
    turns = np.exp(2j * np.pi * np.outer(np.arange(997), np.arange(4)) / 997)
    truth = np.linalg.norm(np.einsum("oit,ft->foi", kernel, turns), 2, axis=(1, 2)).max()
    found = symbol_norm_bound(kernel, [997])
    assert truth * (1 - 2.0**-45) <= found
    most = 1 / math.sqrt(math.cos(math.pi / 16)) * 4**2.0 ** -(GRAM_STEPS + 1)  # the fall; 2 values, twice as parts
    assert found <= truth * most * (1 + 2.0**-40)


def test_a_kernel_of_one_tap_is_its_matrix():
    kernel = np.random.default_rng(5).standard_normal((4, 3, 1, 1))
    nodes = Node("x", (), Input((3, 6, 6))), Node("y", ("x",), Conv("kernel"))
    step = read_graph(Topology(nodes), {"kernel": kernel.shape}).step("y")
    assert conv_norm_bound(kernel, step) <= spectral_norm_bound(kernel[:, :, 0, 0]) * (1 + 2.0**-45)


@pytest.mark.parametrize("groups", [1, 2])
def test_without_symbols_the_rows_of_a_kernel_still_bound_it(monkeypatch, groups):
    """As many windows as taps share a position: 9, whose root is 3. The gains alone would say several times as much."""
    monkeypatch.setattr(conv_norms, "SYMBOL_WORK", 0)
    kernel = np.random.default_rng(7).standard_normal((32, 32 // groups, 3, 3))
    nodes = Node("x", (), Input((32, 6, 6))), Node("y", ("x",), Conv("kernel", groups=groups))
    step = read_graph(Topology(nodes), {"kernel": kernel.shape}).step("y")
    rows = max(np.linalg.norm(part, 2) for part in kernel.reshape(groups, 32 // groups, -1))
    assert conv_norm_bound(kernel, step) <= 3 * rows * 32 ** (1 / 128) * (1 + 2.0**-40)


def test_patches_that_do_not_overlap_are_a_matrix():
    """Stride = kernel: a linear map of each patch."""
    kernel = np.random.default_rng(6).standard_normal((4, 3, 2, 2))
    nodes = Node("x", (), Input((3, 6, 6))), Node("y", ("x",), Conv("kernel", stride=(2,)))
    step = read_graph(Topology(nodes), {"kernel": kernel.shape}).step("y")
    assert conv_norm_bound(kernel, step) <= spectral_norm_bound(kernel.reshape(4, -1)) * (1 + 2.0**-45)
