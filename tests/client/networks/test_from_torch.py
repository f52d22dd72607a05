"""Networks derived from modules compute what the modules compute; what cannot be said is not guessed."""

import numpy as np
import pytest
import torch
from tests.client.networks.exact import arrays_of, run_network, whole_inputs, with_whole_numbers
from torch import nn
from torch.nn import functional

from ellq_client import UnderivableNetwork
from ellq_client.networks import GlobalMean, Linear, Unbounded, network_of


def assert_same(module, shape):
    module = with_whole_numbers(module)
    network = network_of(module, shape)
    inputs = whole_inputs(shape)
    with torch.no_grad():
        expected = module(inputs).numpy()
    assert np.array_equal(run_network(network, arrays_of(module), inputs.numpy()), expected)
    return network


class Forward(nn.Module):
    """A module whose forward pass is a function of itself and its input."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if stride > 1 else None

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.down is None else self.down(x)
        return self.relu(out)


def test_perceptron():
    network = assert_same(nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Dropout(), nn.Linear(7, 3)), (3, 4))
    assert [node.operation.weight for node in network.nodes if isinstance(node.operation, Linear)] == ["1.weight", "4.weight"]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_convolutions_with_batch_norm_like_vgg():
    assert_same(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(True),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, (3, 2), padding="same", dilation=(1, 1), groups=2),
            nn.BatchNorm2d(6, affine=False),
            nn.LeakyReLU(0.5),
            nn.AdaptiveAvgPool2d((2, 2)),
            nn.Flatten(),
            nn.Linear(24, 5),
            nn.BatchNorm1d(5),
            nn.Hardtanh(),
        ),
        (2, 8, 8),
    )


def test_residual_network():
    network = assert_same(
        nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            Block(3, 3, 1),
            Block(3, 4, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
        (1, 4, 4),
    )
    assert not [node for node in network.nodes if isinstance(node.operation, Unbounded)]
    assert "1.conv1" in {node.name for node in network.nodes}


def test_one_dimension():
    assert_same(
        nn.Sequential(
            nn.Conv1d(2, 4, 3, stride=2, padding=2, dilation=2),
            nn.BatchNorm1d(4),
            nn.ReLU6(),
            nn.AvgPool1d(2, padding=1),
            nn.MaxPool1d(3, stride=1, padding=1),
            nn.Flatten(),
        ),
        (2, 13),
    )


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda s, x: functional.relu(s.fc(x)) + 2 * s.fc(x), (4,)),
        (lambda s, x: torch.cat([s.fc(x), x.clamp(-1, 2)], dim=1), (4,)),
        (lambda s, x: torch.cat((s.fc(x), x.relu()), -1), (4,)),
        (lambda s, x: torch.add(x, x) + 1.5, (4,)),
        (lambda s, x: functional.max_pool2d(x.relu(), 2, 1).view(x.size(0), -1), (2, 3, 3)),
        (lambda s, x: functional.avg_pool2d(x, 2, 2, 1).reshape(x.shape[0], -1), (2, 2, 2)),
        (lambda s, x: x.mean([2, 3]), (2, 4, 4)),
        (lambda s, x: torch.mean(x, dim=(-1, -2), keepdim=True).flatten(1), (2, 4, 4)),
        (lambda s, x: torch.flatten(functional.adaptive_avg_pool2d(functional.leaky_relu(x, 0.25), 1), 1), (3, 2, 4)),
        (lambda s, x: s.fc(functional.dropout(x, 0.5, s.training)), (4,)),
        (lambda s, x: s.fc(s.fc(x)), (4,)),
        (lambda s, x: x.unsqueeze(1).squeeze(1), (4,)),
        (lambda s, x: functional.linear(x, s.fc.weight, s.fc.bias), (4,)),
    ],
)
def test_functions_and_methods(function, shape):
    network = assert_same(Forward(function, fc=nn.Linear(4, 4)), shape)
    assert not [node for node in network.nodes if isinstance(node.operation, Unbounded)]


@pytest.mark.parametrize(
    "function",
    [
        nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.ELU(0.5), nn.Softplus(),
        nn.Hardsigmoid(), nn.Hardswish(), nn.Softmax(dim=1), functional.gelu, torch.tanh, functional.elu,
    ],
)  # fmt: skip
def test_smooth_activations(function):
    module = function if isinstance(function, nn.Module) else Forward(lambda s, x: function(x))
    inputs = torch.linspace(-6, 6, 49, dtype=torch.float64)[None]
    network = network_of(module, (49,))
    assert len(network.nodes) == 2
    # A handful of functions and operations, each within a few units in the last place of numbers up to 6.
    found = run_network(network, {}, inputs.numpy())
    np.testing.assert_allclose(found, module(inputs).numpy(), rtol=0, atol=6 * 16 * 2.0**-53)


@pytest.mark.parametrize(
    ("module", "shape", "what"),
    [
        (nn.LayerNorm(4), (4,), "LayerNorm"),
        (nn.Linear(4, 4), (2, 4), "Linear on shape (2, 4)"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), (1, 4, 4), "Conv2d with padding mode 'circular'"),
        (nn.AvgPool2d(2, padding=1, count_include_pad=False), (1, 4, 4), "AvgPool2d that leaves its padding out of the mean"),
        (nn.MaxPool2d(2, ceil_mode=True), (1, 5, 5), "MaxPool2d whose last windows reach beyond the padding (ceil_mode)"),
        (nn.BatchNorm2d(2, track_running_stats=False), (2, 4, 4), "BatchNorm2d with the statistics of each batch"),
        (nn.AdaptiveAvgPool2d(2), (1, 3, 4), "AdaptiveAvgPool2d from (3, 4) to (2, 2), whose windows differ in length"),
        (nn.ELU(2.0), (4,), "ELU with alpha 2.0"),
        (nn.Softmax(dim=-1), (2, 4), "Softmax over axis -1 of shape (2, 4)"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), (4,), "the module ParametrizedLinear"),
        (Forward(lambda s, x: x * x), (4,), "mul of other than a number"),
        (Forward(lambda s, x: x.transpose(1, 2)), (2, 3), "transpose"),
        (Forward(lambda s, x: x.reshape(-1, 2)), (4,), "reshape, which has or gives several tensors or mixes samples"),
        (Forward(lambda s, x: x.chunk(2, 1)[0]), (4,), "getitem, which has or gives several tensors or mixes samples"),
        (Forward(lambda s, x: x + x.mean(1, keepdim=True)), (4,), "add of shapes that are not equal"),
    ],
)
def test_what_cannot_be_said_is_unbounded(module, shape, what):
    network = network_of(nn.Sequential(module), shape)  # as a part: a trace looks into a module that is the whole
    last = next(node for node in network.nodes if node.name == network.output)
    assert last.operation == Unbounded(what)


def test_unbounded_ends_what_follows_but_not_the_description():
    network = network_of(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)), (4,))
    assert [type(node.operation).__name__ for node in network.nodes] == ["Input", "Linear", "Unbounded", "Relu", "Linear"]


def test_a_module_with_hooks_is_not_what_its_name_says():
    module = nn.Sequential(nn.Linear(4, 4))
    module[0].register_forward_hook(lambda *_: None)
    assert network_of(module, (4,)).nodes[-1].operation == Unbounded("Linear with hooks")


def test_a_weight_of_two_names_could_be_cut_in_two_ways():
    """What is loaded last would then be in both layers, and the certificate speak of another network."""
    apart = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
    apart[2].weight = apart[0].weight
    first = nn.Linear(4, 4)
    for module in (apart, Forward(lambda s, x: s.second(s.first(x)), first=first, second=first)):
        operations = [node.operation for node in network_of(module, (4,)).nodes]
        told = [one.what for one in operations if isinstance(one, Unbounded)]
        assert len(told) == 2
        assert all("is that of another name, too" in one for one in told)
    once = network_of(Forward(lambda s, x: s.first(s.first(x)), first=first), (4,))
    assert not [node for node in once.nodes if isinstance(node.operation, Unbounded)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_that_is_a_part_of_another_could_be_cut_in_two_ways(dtype):
    """Also in a dtype of which the trace sees a copy."""
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).to(dtype)
    module[1].weight = nn.Parameter(module[0].weight[:2])
    operations = [node.operation for node in network_of(module, (4,)).nodes]
    assert [type(one) for one in operations[1:]] == [Unbounded, Unbounded]


def test_a_value_that_was_changed_in_place_is_not_used_as_it_was():
    network = network_of(Forward(lambda s, x: torch.add(h := s.fc(x), s.relu(h)), fc=nn.Linear(4, 4), relu=nn.ReLU(True)), (4,))
    assert network.nodes[-1].operation == Unbounded("add of values that were changed in place")


def test_a_view_is_changed_with_its_base():
    def forward(s, x):
        h = s.fc(x)
        view = h.view(-1, 2, 2)
        view.relu_()
        return s.fc(h)

    network = network_of(Forward(forward, fc=nn.Linear(4, 4)), (4,))
    assert network.nodes[-1].operation == Unbounded("Linear of values that were changed in place")


def test_a_trace_that_computes_something_else_is_refused():
    def forward(s, x):
        h = s.fc(x)
        before = h
        h += 1
        return before + h

    with pytest.raises(UnderivableNetwork, match="computes something else"):
        network_of(Forward(forward, fc=nn.Linear(4, 4)), (4,))


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (Forward(lambda s, x: x if x.sum() > 0 else -x), "cannot be traced: .*describe its network by hand"),
        (Forward(lambda s, x: s.fc(x), fc=nn.Linear(5, 1)), "cannot be traced"),
        (Forward(lambda s, x: (x, x)), "returns no single tensor"),
        (Forward(lambda s, x: {"logits": x}), "returns no single tensor"),
        (Forward(lambda s, x: torch.zeros(3)), "returns no single tensor"),
    ],
)
def test_what_is_no_network_is_refused_with_the_reason(module, told):
    with pytest.raises(UnderivableNetwork, match=told):
        network_of(module, (4,))


def test_the_module_stays_as_it_was():
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout()).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    network_of(module, (4,))
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_global_mean_is_one():
    network = network_of(nn.AdaptiveAvgPool1d(1), (3, 8))
    assert isinstance(network.nodes[1].operation, GlobalMean)
