"""Measured moments are those of the samples, rounded to the safe side, however they are cut up."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from tests.client.networks.exact import whole_inputs, with_whole_numbers
from torch import nn

from ellq.v1.frames import FRAME_BYTES
from ellq_client import SourceError, UnderivableNetwork
from ellq_client.networks import Calibration, TensorMoments, calibrate, network_of
from ellq_client.networks.sample_sums import SampleSums, moments_of_uses

U = 2.0**-53


def taps(x, kernel, stride, padding, dilation):
    """Return what the taps see by definition: (samples, channels * taps, positions), by loops."""
    samples, channels, *size = x.shape
    padded = np.pad(x, [(0, 0), (0, 0), *((side, side) for side in padding)])
    counts = [(size[a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in range(len(size))]
    seen = np.zeros((samples, channels, *kernel, *counts))
    for tap in np.ndindex(*kernel):
        for place in np.ndindex(*counts):
            at = tuple(p * s + t * d for p, s, t, d in zip(place, stride, tap, dilation, strict=True))
            seen[(slice(None), slice(None), *tap, *place)] = padded[(slice(None), slice(None), *at)]
    return seen.reshape(samples, channels * int(np.prod(kernel)), -1)


def second_moment_matrix(columns, groups):
    """Return the exact means of x x' by group, for columns of whole numbers."""
    samples, _, positions = columns.shape
    split = columns.reshape(samples, groups, -1, positions)
    return np.einsum("ngip,ngjp->gij", split, split) / (samples * positions)


@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (4, 5, 6)),
        (nn.Conv1d(2, 3, 3, stride=2, padding=2, dilation=2), (2, 9)),
    ],
)
def test_convolutions(layer, shape, batch):
    module = nn.Sequential(with_whole_numbers(layer))
    inputs = whole_inputs(shape, samples=7)
    found = calibrate(module, inputs.split(batch)).tensors["0.weight"]
    seen = taps(inputs.numpy(), layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    assert_bounds(found, second_moment_matrix(seen, layer.groups), terms=seen.shape[0] * seen.shape[2])


def test_linear_layers_see_what_the_layers_before_give():
    module = with_whole_numbers(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)))
    inputs = whole_inputs((4,), samples=9)
    found = calibrate(module, [(inputs, "labels")])
    hidden = module[:2](inputs).detach().numpy()
    assert found.samples == 9
    assert_bounds(found.tensors["2.weight"], second_moment_matrix(hidden[:, :, None], 1), terms=9)


def assert_bounds(found, exact, *, terms):
    """Hold moments of whole numbers against the truth, which only a division has rounded."""
    fan_in = exact.shape[1]
    diagonal = np.diagonal(exact, axis1=1, axis2=2)
    assert np.array_equal(found.matrix, found.matrix.swapaxes(1, 2))
    assert (found.second_moments >= diagonal.reshape(-1)).all()
    off = ~np.eye(fan_in, dtype=bool)
    assert np.array_equal(found.matrix[:, off], exact[:, off])
    # Each sum met at most its terms, as many pieces, a division: inflated as 2 (roundings fan_in + 1) u says, and not by more.
    most = 2 * ((2 * terms + 2) * fan_in + 3) * U
    np.testing.assert_allclose(found.second_moments, diagonal.reshape(-1), rtol=most, atol=0)
    assert np.array_equal(found.second_moments == 0, diagonal.reshape(-1) == 0)


def test_rounded_sums_dominate_the_truth():
    """Numbers whose products all round: whatever v is, v' matrix v is not below the exact mean of (v . x)^2."""
    random = np.random.default_rng(3)
    inputs = random.normal(size=(50, 5)) * 10.0 ** random.integers(-9, 9, 5)
    module = nn.Sequential(nn.Linear(5, 2))
    found = calibrate(module, torch.from_numpy(inputs).split(8)).tensors["0.weight"]
    rows = [[Fraction(x) for x in row] for row in inputs.tolist()]
    claimed = [[Fraction(x) for x in row] for row in found.matrix[0].tolist()]
    for direction in [*np.eye(5), *random.normal(size=(40, 5)), *nearly_cancelling(random, inputs)]:
        v = [Fraction(x) for x in direction.tolist()]
        truth = sum(sum(a * b for a, b in zip(v, row, strict=True)) ** 2 for row in rows) / len(rows)
        assert sum(a * b * c for a, line in zip(v, claimed, strict=True) for b, c in zip(line, v, strict=True)) >= truth


def nearly_cancelling(random, inputs):
    """Return directions along which the samples almost vanish: there rounding is all there is."""
    scale = np.sqrt(np.mean(inputs**2, axis=0))
    _, _, directions = np.linalg.svd((inputs / scale)[:3])
    return directions[3:] / scale


def test_a_rank_one_matrix_still_dominates():
    """Identical entries: without the raised diagonal, some direction would have a negative square."""
    column = np.full((1, 6, 7), 0.1)
    total = np.einsum("gin,gjn->gij", column, column)
    sums = SampleSums(np.diagonal(total, axis1=1, axis2=2), total, np.ones((1, 6), bool), 7, 8)
    found = moments_of_uses([sums]).matrix[0]
    square = Fraction(0.1) ** 2
    for v in np.random.default_rng(0).normal(size=(30, 6)):
        exact = [Fraction(x) for x in v.tolist()]
        truth = sum(exact) ** 2 * square
        claimed = [[Fraction(x) for x in row] for row in found.tolist()]
        assert sum(a * b * c for a, row in zip(exact, claimed, strict=True) for b, c in zip(row, exact, strict=True)) >= truth


def test_squares_that_underflow_are_not_lost():
    module = nn.Sequential(nn.Linear(2, 2))
    found = calibrate(module, [torch.tensor([[1e-200, 0.0]], dtype=torch.float64)])
    assert found.tensors["0.weight"].second_moments[0] > 0
    assert found.tensors["0.weight"].second_moments[1] == 0


def test_a_module_used_twice_has_moments_for_both_uses():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(self.fc(x).relu())

    module = with_whole_numbers(Twice())
    inputs = whole_inputs((3,), samples=6)
    found = calibrate(module, inputs.split(4)).tensors["fc.weight"]
    uses = [inputs.numpy(), module.fc(inputs).relu().detach().numpy()]
    exact = [second_moment_matrix(use[:, :, None], 1)[0] for use in uses]
    largest = np.maximum(*(np.diagonal(one) for one in exact))
    assert (found.second_moments >= np.diagonal(sum(exact))).all()
    np.testing.assert_array_equal(found.second_moments, np.diagonal(found.matrix[0]))
    alone = calibrate(module, inputs.split(4), matrices=False).tensors["fc.weight"].second_moments
    assert (alone >= largest).all()
    np.testing.assert_allclose(alone, largest, rtol=2 * 20 * U)
    for one in exact:
        assert np.linalg.eigvalsh(found.matrix[0] - one).min() >= -9 * U * np.trace(found.matrix[0])  # eigvalsh's own rounding
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found.matrix[0][off], sum(exact)[off], rtol=4 * U, atol=4 * U * np.trace(sum(exact)))


def test_what_is_asked_for():
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    batches = [torch.ones(2, 6)]
    assert calibrate(module, batches, matrices=False).without_matrix == ("0.weight", "2.weight")
    assert calibrate(module, batches, largest_matrix=4).without_matrix == ("0.weight",)
    part = network_of(nn.Sequential(module[0]), (6,))
    assert list(calibrate(module, batches, network=part).tensors) == ["0.weight"]


def test_margins():
    module = with_whole_numbers(nn.Sequential(nn.Linear(3, 4)))
    inputs = whole_inputs((3,), samples=5)
    outputs = np.sort(module(inputs).detach().numpy(), axis=1)
    found = calibrate(module, inputs.split(2)).margins
    exact = outputs[:, -1] - outputs[:, -2]
    assert ((found <= exact) & (found >= 0)).all()
    np.testing.assert_allclose(found, exact, rtol=2 * U)
    assert not calibrate(nn.Sequential(nn.Conv1d(1, 1, 1)), [torch.ones(1, 1, 3)]).margins.size


def test_the_module_stays_as_it_was():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    calibrate(module, [torch.ones(3, 2)])
    assert module.training
    assert not module[0]._forward_pre_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert module[0].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        ([], "no samples"),
        ([torch.tensor([[1.0, torch.nan]])], "'0.weight' holds NaN"),
        ([torch.tensor([[1e200, 1]]).double()], "overf"),
    ],
)
def test_what_cannot_be_measured_is_refused(batches, told):
    with pytest.raises(UnderivableNetwork, match=told):
        calibrate(nn.Sequential(nn.Linear(2, 2)), batches)


def test_the_file_and_back(tmp_path):
    found = calibrate(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), [torch.ones(2, 3)], largest_matrix=2)
    found.save(tmp_path / "moments.safetensors")
    back = Calibration.load(tmp_path / "moments.safetensors")
    assert (back.samples, back.without_matrix) == (2, ("0.weight",))
    assert np.array_equal(back.margins, found.margins)
    assert frames_of(back) == frames_of(found)


def frames_of(calibration):
    return sorted(frame.SerializeToString() for frame in calibration.to_frames())


def test_files_that_are_no_calibration(tmp_path, checkpoint_bytes):
    (tmp_path / "model.safetensors").write_bytes(checkpoint_bytes)
    with pytest.raises(SourceError, match="holds no calibration"):
        Calibration.load(tmp_path / "model.safetensors")
    with pytest.raises(SourceError, match="cannot read"):
        Calibration.load(tmp_path / "nothing.safetensors")


@pytest.fixture
def checkpoint_bytes():
    from safetensors.numpy import save

    return save({"a.weight": np.ones((2, 2), np.float32)})


def test_frames_are_small_and_whole():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(2, 400, 400))
    moments = TensorMoments(random.random(800), matrix)
    frames = list(Calibration({"a": moments, "b": TensorMoments(np.ones(3))}, 1).to_frames())
    assert [frame.tensor for frame in frames] == ["a", "a", "b"]
    assert [len(frame.second_moments) for frame in frames] == [800, 0, 3]
    assert all(frame.ByteSize() < FRAME_BYTES + 8 * 800 + 64 for frame in frames)
    joined = np.frombuffer(b"".join(frame.matrix for frame in frames), "<f8")
    assert np.array_equal(joined.reshape(2, 400, 400), matrix)
