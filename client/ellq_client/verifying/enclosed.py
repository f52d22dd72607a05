"""The network and the moments of a request, handed in once more, and what follows from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq_client.checkpoint import Checkpoint
from ellq_client.enclosures import AnyMoments, AnyNetwork, enclose
from ellq_client.errors import InvalidNetwork, ReportError
from ellq_client.graphs import read_knowledge, read_moments, read_topology
from ellq_client.requests import Request
from ellq_client.verifying.matrices import as_bits
from ellq_math.dtypes import WEIGHT_DTYPES, decode
from ellq_math.network.dead_neurons import Flags, dead_neurons
from ellq_math.network.knowledge import Knowledge, Moments
from ellq_math.network.nodes import Conv, Linear
from ellq_math.network.topology import Graph, InvalidTopology, read_graph
from ellq_math.sums import Array

OTHER_NETWORK = "this network is not the one of the report (--box, --l2-radius and --margins belong to it, too)"
OTHER_MOMENTS = "these moments are not those of the report"


@dataclass(frozen=True)
class FileTensors:
    """The tensors of the two files, decoded when the math asks."""

    before: Checkpoint
    after: Checkpoint

    def original(self, name: str) -> Array:
        """Return the tensor as it came: float64, stored shape."""
        return self._read(self.before, name)

    def changed(self, name: str) -> Array:
        """Return the tensor as it goes: float64, stored shape."""
        return self._read(self.after, name)

    def nonfinite(self, names: Iterable[str]) -> list[str]:
        """Return which of these hold NaN or infinity."""
        return [name for name in names if not np.isfinite(self.original(name)).all()]

    def _read(self, checkpoint: Checkpoint, name: str) -> Array:
        tensor = next(tensor for tensor in checkpoint.tensors if tensor.name == name)
        if tensor.dtype not in WEIGHT_DTYPES:
            raise ReportError(f"tensor {name!r} of the network is {tensor.dtype}, which no server takes for numbers")
        bits = as_bits(checkpoint.read(tensor.begin, tensor.length_bytes), WEIGHT_DTYPES[tensor.dtype].bits)
        return decode(bits, tensor.dtype).reshape(tensor.shape)


@dataclass(frozen=True)
class Enclosed:
    """What was sent along with the request, as far as it was handed in again."""

    request: Request
    tensors: FileTensors
    network: pb.Network | None
    frames: tuple[pb.Moments, ...] | None

    @property
    def lacks_network(self) -> bool:
        """Whether the request had a network that nobody handed in."""
        return self.network is None and self.request.network_sha256 is not None

    @property
    def lacks_moments(self) -> bool:
        """Whether the request had moments that nobody handed in."""
        return self.frames is None and self.request.moments_sha256 is not None

    @cached_property
    def graph(self) -> Graph | None:
        """The graph of the network. Errors: ReportError when it is none of these tensors."""
        if self.network is None:
            return None
        shapes = {tensor.name: tensor.shape for tensor in self.tensors.before.tensors}
        try:
            return read_graph(read_topology(self.network.topology), shapes)
        except InvalidTopology as error:
            raise ReportError(f"this network is not of these files: {error}") from error

    @cached_property
    def axes(self) -> Mapping[str, tuple[int, ...]]:
        """The axes that number the neurons of the network's layers."""
        return dict.fromkeys(self.graph.transposed if self.graph else (), (1,))

    @cached_property
    def weighted(self) -> frozenset[str]:
        """Names of the tensors that are weights of layers."""
        layers = [step.node.operation for step in self.graph.layers] if self.graph else []
        return frozenset(layer.weight for layer in layers if isinstance(layer, Linear | Conv))

    @cached_property
    def dead(self) -> Mapping[str, Flags]:
        """The neurons of each layer that nothing uses after the cut."""
        return dead_neurons(self.graph, self.tensors.changed) if self.graph else {}

    def moments(self, fan_ins: Mapping[str, int]) -> dict[str, Moments]:
        """Return the moments by tensor."""
        return read_moments(self.frames or (), fan_ins)

    def knowledge(self, moments: Mapping[str, Moments]) -> Knowledge:
        """Return all that is known of the inputs."""
        return read_knowledge(pb.InputKnowledge() if self.network is None else self.network.inputs, moments)


def hold_enclosed(
    request: Request, before: Checkpoint, after: Checkpoint, network: AnyNetwork | None, moments: AnyMoments | None
) -> Enclosed:
    """Return what was handed in, when it is what the report speaks of. Errors: InvalidNetwork when it is another."""
    given = enclose(network, moments)
    for claim, claimed, found, likely in (
        ("request.network_sha256", request.network_sha256, given.network_sha256, OTHER_NETWORK),
        ("request.moments_sha256", request.moments_sha256, given.moments_sha256, OTHER_MOMENTS),
    ):
        if found is not None and claimed != found:
            raise InvalidNetwork(f"{likely}: {claim} is {claimed}, found {found}")
    frames = None if moments is None else tuple(given.moments())
    return Enclosed(request, FileTensors(before, after), given.network, frames)
