"""Modules and inputs of small whole numbers, and dyadic batch statistics: float64 computes all of it without rounding.

So a derived network and its module must agree to the last bit, whatever order they add in.
"""

import numpy as np
import torch
from tests.math.network.networks import forward
from torch import nn

from ellq_server.networks import network_from_wire

EPSILON = 2.0**-10


def with_whole_numbers(module, seed=0):
    """Return the module in float64 and eval mode, its parameters drawn from -2..2, its batch norms scaling by 1/2, 1 or 2."""
    draw = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for one in module.modules():
        for parameter in one.parameters(recurse=False):
            parameter.data = torch.randint(-2, 3, parameter.shape, generator=draw).double()
        if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d):
            one.eps = EPSILON
            one.running_mean = torch.randint(-2, 3, one.running_mean.shape, generator=draw).double()
            one.running_var = 4.0 ** torch.randint(-1, 2, one.running_var.shape, generator=draw).double() - EPSILON
    return module


def whole_inputs(shape, samples=3, seed=1):
    """Return inputs (samples, *shape) drawn from -3..3."""
    return torch.randint(-3, 4, (samples, *shape), generator=torch.Generator().manual_seed(seed)).double()


def run_network(network, tensors, inputs):
    """Return the outputs of a described network, which the service's own checks must accept first."""
    read = network_from_wire(network.to_proto())
    graph = read.graph({name: tensor.shape for name, tensor in tensors.items()})
    return forward(read.topology, tensors, inputs)[graph.output]


def arrays_of(module):
    """Return the state dict in float64."""
    return {name: tensor.numpy().astype(np.float64) for name, tensor in module.state_dict().items()}
