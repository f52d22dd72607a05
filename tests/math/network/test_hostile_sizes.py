"""Networks that are small to send: what they ask for is refused by name, counted, or costs no more than what was sent."""

import math
import tracemalloc
from itertools import product

import numpy as np
import pytest
from tests.math.network.networks import evaluate

from ellq_math.network import conv_norms, linear_maps
from ellq_math.network.conv_norms import SYMBOL_WORK, conv_norm_bound, symbol_norm_bound, symbol_work
from ellq_math.network.groups import Norm, channels
from ellq_math.network.intervals import Interval, point
from ellq_math.network.layer_gains import conv_gains, layer_gains, phases
from ellq_math.network.linear_maps import enclose, layer_map, mean_map, position_blocks
from ellq_math.network.max_pool import pooled_largest, pooled_largest_difference
from ellq_math.network.nodes import (
    Activation,
    ActivationKind,
    Add,
    Affine,
    Concat,
    Conv,
    GlobalMean,
    Input,
    Linear,
    Node,
    Pool,
    PoolKind,
    Reshape,
    Topology,
)
from ellq_math.network.topology import InvalidTopology, largest_values, read_graph, work
from ellq_math.spectral import spectral_norm_bound
from ellq_math.sums import UNIT_ROUNDOFF

RELU = Activation(ActivationKind.RELU)
MIB = 1 << 20


def graph_of(operation, shape, kernel=(1,)):
    nodes = Node("x", (), Input(shape)), Node("y", ("x",), operation)
    return read_graph(Topology(nodes), {"k": kernel})


def step_of(operation, shape, kernel=(1,)):
    return graph_of(operation, shape, kernel).step("y")


def peak_bytes(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def library_norm(matrix):
    return np.linalg.norm(matrix, 2) * (1 - 10 * max(matrix.shape) * UNIT_ROUNDOFF)


def explicit_matrix(step, kernel):
    (shape,) = step.input_shapes
    units = np.eye(math.prod(shape)).reshape(-1, *shape)
    return evaluate(step.node.operation, [units], {"k": kernel}).reshape(len(units), -1).T


@pytest.mark.parametrize(
    ("operation", "shape", "message"),
    [
        (
            Conv("k", padding=(1 << 26,)),
            (1, 9),
            "padding is 67108864 beside 9 values for windows of 3; allowed is less than 12",
        ),
        (Conv("k", padding=(0, 12)), (1, 9), "padding is 12"),
        (Pool(PoolKind.MEAN, (3,), padding=(12,)), (1, 9), "padding is 12"),
        (Conv("k", dilation=(1 << 31,)), (1, 9), "spans 4294967297 positions of 9"),
        (Pool(PoolKind.MAX, (10,)), (1, 9), "spans 10 positions of 9"),
        (RELU, (1,) * 9, "the shape has 9 axes; allowed are 8"),
        (Reshape((1,) * 65), (1,), "the shape has 65 axes; allowed are 8"),
    ],
)
def test_sizes_that_no_network_has_are_refused_by_name(operation, shape, message):
    with pytest.raises(InvalidTopology, match=message) as refusal:
        graph_of(operation, shape, (1, 1, 3))
    assert refusal.value.node in ("x", "y")


@pytest.mark.parametrize("join", [Add(), Concat()])
def test_a_node_takes_a_thousand_inputs_and_no_more(join):
    source = Node("x", (), Input((2,)))
    read_graph(Topology((source, Node("y", ("x",) * 1000, join))), {})
    with pytest.raises(InvalidTopology, match=r"takes 1001 inputs; allowed is two or more for add and concat, up to 1000"):
        read_graph(Topology((source, Node("y", ("x",) * 1001, join))), {})


def test_names_are_short_in_bytes():
    read_graph(Topology((Node("x" * 1024, (), Input((2,))),)), {})
    for name in ("x" * 1025, "é" * 513):
        with pytest.raises(InvalidTopology, match=r"nodes\[0\] has 102[56] bytes; allowed are 1024"):
            read_graph(Topology((Node(name, (), Input((2,))),)), {})


def test_a_message_does_not_repeat_a_long_name():
    source = Node("x", (), Input((2,)))
    for topology in (Topology((source, Node("y", ("z" * 5000,), RELU))), Topology((source,), "z" * 5000)):
        with pytest.raises(InvalidTopology, match="no node has that name") as refusal:
            read_graph(topology, {})
        assert len(str(refusal.value)) < 2000


def test_padding_between_dilated_taps_is_counted():
    """Few values, few weights, and 2^26 zeros beside them: no limit of an axis sees that, the counts do."""
    graph = graph_of(Conv("k", padding=(1 << 25,), dilation=(1 << 25,), stride=(1 << 25,)), (1, 1), (1, 1, 2))
    assert largest_values(graph) == (1 << 26) + 1
    assert work(graph) >= 1 << 26


def test_work_counts_every_step_that_uses_a_tensor():
    nodes = [Node("0", (), Input((4,)))]
    nodes += [Node(str(place), (str(place - 1),), Linear("w")) for place in range(1, 201)]
    assert work(read_graph(Topology(tuple(nodes)), {"w": (4, 4)})) == 4 + 200 * 16


@pytest.mark.parametrize(
    ("operation", "shape", "least"),
    [
        (Pool(PoolKind.MAX, (100,), (1,)), (2, 199), 2 * 100 * 100),
        (Pool(PoolKind.MEAN, (5,), (5,), (4,)), (2, 2), 2 * 10),
        (GlobalMean(), (2, 300), 600),
    ],
)
def test_work_counts_taps_and_what_is_read(operation, shape, least):
    assert work(graph_of(operation, shape)) == math.prod(shape) + least


@pytest.mark.parametrize("huge", [1 << 24, (1 << 32) - 1])
def test_a_huge_stride_costs_nothing(huge):
    """One window is left: the convolution is its matrix."""
    kernel = np.random.default_rng(1).normal(size=(3, 2, 3, 3))
    step = step_of(Conv("k", stride=(huge,)), (2, 4, 4), kernel.shape)
    assert peak_bytes(lambda: conv_norm_bound(kernel, step)) < MIB
    assert library_norm(kernel.reshape(3, -1)) <= conv_norm_bound(kernel, step)
    assert conv_norm_bound(kernel, step) <= spectral_norm_bound(kernel.reshape(3, -1)) * (1 + 2.0**-45)


def test_a_huge_dilation_costs_nothing():
    kernel = np.random.default_rng(2).normal(size=(1, 1, 2))
    step = step_of(Conv("k", stride=(3,), dilation=(1 << 22,)), (1, (1 << 22) + 7), kernel.shape)
    assert peak_bytes(lambda: conv_norm_bound(kernel, step)) < 16 * MIB
    assert conv_norm_bound(kernel, step) <= np.abs(kernel).sum() * (1 + 2.0**-40)


@pytest.mark.parametrize(("stride", "dilation"), list(product(range(1, 7), repeat=2)))
def test_phases_alone_are_never_below_the_explicit_matrix(stride, dilation):
    """The symbol of taps side by side in each phase stands for all dilations; the least of several bounds would hide it."""
    rng = np.random.default_rng(stride * 7 + dilation)
    kernel = rng.normal(size=(4, 2, 4, 2))
    operation = Conv("k", stride=(stride, 2), dilation=(dilation, 1), padding=(1, 2, 0, 1), groups=2)
    step = step_of(operation, (4, 3 * dilation + 5, 5), kernel.shape)
    operation = step.node.operation
    split = phases(operation, kernel)
    _, fan_in, count, *taps = split.shape
    assert count == min(4, stride // math.gcd(stride, dilation)) * 2
    lengths = conv_norms._torus(operation, step.input_shapes[0])
    found = symbol_norm_bound(split.reshape(2, 2, fan_in * count, *taps), lengths)
    assert library_norm(explicit_matrix(step, kernel)) <= found
    assert library_norm(explicit_matrix(step, kernel)) <= conv_norm_bound(kernel, step) <= found


def test_a_phase_holds_the_taps_that_meet_the_same_positions():
    kernel = np.arange(1.0, 8).reshape(1, 1, 7)
    for stride, dilation in product(range(1, 10), repeat=2):
        conv = step_of(Conv("k", stride=(stride,), dilation=(dilation,)), (1, 100), kernel.shape).node.operation
        found = {tuple(one[one > 0].tolist()) for one in phases(conv, kernel)[0, 0]}
        met = [tap * dilation % stride for tap in range(7)]
        assert found == {tuple(tap + 1.0 for tap in range(7) if met[tap] == one) for one in met}


def test_symbols_of_many_taps_are_counted_before_they_are_made():
    shape = (1, 1, 1024, 1024)
    step = step_of(Conv("k", padding=(512,)), (1, 1024, 1024), shape)
    assert symbol_work(step, shape) > SYMBOL_WORK
    kernel = np.ones((1, 1, 512, 512))
    assert peak_bytes(lambda: symbol_norm_bound(kernel, [1 << 12, 1 << 12])) < MIB
    assert symbol_norm_bound(kernel, [1 << 12, 1 << 12]) == math.inf


def test_symbols_of_common_layers_are_not_left_out():
    step = step_of(Conv("k", padding=(1,)), (256, 56, 56), (256, 256, 3, 3))
    assert symbol_work(step, (256, 256, 3, 3)) <= SYMBOL_WORK
    step = step_of(Conv("k", padding=(1,), groups=1024), (1024, 28, 28), (1024, 1, 3, 3))
    assert symbol_work(step, (1024, 1, 3, 3)) <= SYMBOL_WORK


def test_blocks_of_symbols_count_the_taps():
    kernel = np.random.default_rng(3).normal(size=(1, 1, 64, 64))
    assert peak_bytes(lambda: symbol_norm_bound(kernel, [70, 70])) < 64 * MIB


def test_a_depthwise_convolution_is_bounded_group_by_group():
    """The gains between all channels would take 128 MiB."""
    kernel = np.random.default_rng(4).normal(size=(4096, 1, 3))
    step = step_of(Conv("k", groups=4096), (4096, 8), kernel.shape)
    assert peak_bytes(lambda: conv_norm_bound(kernel, step)) < 64 * MIB
    widest = max(library_norm(explicit_matrix(step_of(Conv("k"), (1, 8), (1, 1, 3)), one[None])) for one in kernel[:64])
    assert conv_norm_bound(kernel, step) >= widest


@pytest.mark.parametrize("scale", [0.0, 2.0**-1074, 1.0, 1e308])
def test_groups_of_any_size_have_a_bound(scale):
    kernel = np.array([0.0, 1.0, 0.0]).reshape(3, 1, 1) * scale
    assert scale <= conv_norm_bound(kernel, step_of(Conv("k", groups=3), (3, 2), kernel.shape)) <= scale * 1.001 + 1e-322


def test_gains_of_groups_are_those_of_the_layer():
    kernel = np.random.default_rng(5).normal(size=(4, 2, 5))
    step = step_of(Conv("k", stride=(2,), groups=2), (4, 9), kernel.shape)
    dense = layer_gains(step, kernel, channels((4, 9)), Norm.L2)
    blocks = conv_gains(step.node.operation, kernel, Norm.L2)
    assert (dense[:2, :2] == blocks[:2]).all()
    assert (dense[2:, 2:] == blocks[2:]).all()
    assert np.count_nonzero(dense) == blocks.size


@pytest.mark.parametrize("positions", [(7,), (3, 5), (1, 1)])
@pytest.mark.parametrize("buffer", [1, 6, 100])
def test_blocks_cover_each_position_once_and_fit(positions, buffer, monkeypatch):
    monkeypatch.setattr(linear_maps, "BUFFER", buffer)
    seen = np.zeros(positions)
    for part in position_blocks(positions, 2):
        seen[part] += 1
        assert seen[part].size <= max(1, buffer // 2)
    assert (seen == 1).all()


def test_windows_of_one_row_of_positions_do_not_lie_side_by_side():
    kernel = np.ones((1, 1, 512, 512))
    step = step_of(Conv("k"), (1, 512, 1023), kernel.shape)
    values = point(np.ones((1, 512, 1023)))
    linear = layer_map(step, kernel.shape)  # all windows would take 1 GiB
    assert peak_bytes(lambda: enclose(linear, kernel.reshape(1, -1), values)) < 64 * MIB


def test_the_mean_over_many_axes_is_flat():
    shape = (2, 1, 3, 1, 2, 1, 1, 2)
    values = np.random.default_rng(6).normal(size=shape)
    linear, rows = mean_map(step_of(GlobalMean(), shape))
    found = enclose(linear, rows, point(values), roundings=1)
    mean = values.reshape(2, -1).mean(axis=1)
    assert (found.low <= mean).all()
    assert (mean <= found.high).all()


def random_pool(rng):
    axes = int(rng.integers(1, 3))
    kernel = tuple(rng.integers(1, 9, axes).tolist())
    padding = tuple(int(rng.integers(0, length)) for length in kernel for _ in range(2))
    pool = Pool(PoolKind.MAX, kernel, tuple(rng.integers(1, 4, axes).tolist()), padding)
    return pool, (2, *rng.integers(8, 12, axes).tolist())


def windows_of(pool, values):
    """Yield the values of each window, padding left out."""
    for channel in values:
        ends = [n + sum(pool.padding[2 * axis : 2 * axis + 2]) - pool.kernel[axis] + 1 for axis, n in enumerate(channel.shape)]
        for corner in product(*(range(0, end, step) for end, step in zip(ends, pool.stride, strict=True))):
            starts = [at - pool.padding[2 * axis] for axis, at in enumerate(corner)]
            cut = tuple(slice(max(0, at), at + length) for at, length in zip(starts, pool.kernel, strict=True))
            yield channel[cut].ravel()


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("buffer", [1, 1 << 19])
def test_pools_are_those_of_their_windows(seed, buffer, monkeypatch):
    monkeypatch.setattr(linear_maps, "BUFFER", buffer)
    rng = np.random.default_rng(seed)
    pool, shape = random_pool(rng)
    low, error = rng.normal(size=(2, *shape))
    before = Interval(low, low + rng.random(shape))
    after = Interval(before.low + error, before.high + error)
    found = pooled_largest(pool, before)
    assert found.low.ravel().tolist() == [one.max() for one in windows_of(pool, before.low)]
    assert found.high.ravel().tolist() == [one.max() for one in windows_of(pool, before.high)]
    moved = pooled_largest_difference(pool, before, after, Interval(error, error + 1))
    windows = (windows_of(pool, one) for one in (after.low, after.high, error + 1))
    assert moved.high.ravel().tolist() == [one[high >= low.max()].max() for low, high, one in zip(*windows, strict=True)]
    windows = (windows_of(pool, one) for one in (before.low, before.high, error))
    assert moved.low.ravel().tolist() == [one[high >= low.max()].min() for low, high, one in zip(*windows, strict=True)]


def test_a_pool_over_a_million_taps_is_no_loop_over_them():
    values = point(np.random.default_rng(7).normal(size=(1, 1 << 20)))
    pool = Pool(PoolKind.MAX, (1 << 20,), (1,), (0, 0))
    assert peak_bytes(lambda: pooled_largest_difference(pool, values, values, point(values.low))) < 128 * MIB
    assert pooled_largest(pool, values).high.item() == values.high.max()


def test_affine_steps_of_eight_axes_pass():
    assert step_of(Affine((2.0,)), (1,) * 8).shape == (1,) * 8
