"""The same weights in another order: what a server that walks a network back from its outputs can take one layer at a time."""

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data, framed
from ellq.v1.safetensors import LENGTH_BYTES, METADATA
from ellq_client.errors import InvalidNetwork, SourceError
from ellq_client.graphs import read_topology
from ellq_client.header_bytes import end_to_end, header_text, with_length
from ellq_client.headers import StoredTensor, read_header
from ellq_client.sources import Source
from ellq_math.network.nodes import Conv, Linear
from ellq_math.network.topology import InvalidTopology, read_graph


class LastLayerFirst:
    """A source with the weights of a network's layers behind all other tensors, the last layer first.

    The header tells of the tensors as it did, but for their offsets.
    """

    def __init__(self, source: Source, topology: pb.Topology) -> None:
        """Errors: SourceError for weights that the server alone reads; InvalidNetwork when the network is not of them."""
        if not source.header.text:
            raise SourceError(f"{source.name} is read by the server alone, and this needs its bytes here; download it first")
        self.name = source.name
        self.permissions = source.permissions
        self._source = source
        self._tensors = _reordered(source.header.tensors, topology)
        text = _header_of(json.loads(source.header.text[LENGTH_BYTES:]), self._tensors)
        self.size_bytes = len(text) + source.size_bytes - source.header.length_bytes
        self.header = read_header(text, size_bytes=self.size_bytes, name=self.name)

    def frames(self) -> Iterator[Data]:
        """Yield the header, then tensor after tensor."""
        pieces = chain.from_iterable(map(self._source.pieces, self._tensors))
        return framed(chain([memoryview(self.header.text)], map(memoryview, pieces)))

    def pieces(self, tensor: StoredTensor) -> Iterator[Data]:
        """Yield the bytes of the tensor of that name."""
        original = next(one for one in self._tensors if one.name == tensor.name)
        return self._source.pieces(original)


def _reordered(tensors: tuple[StoredTensor, ...], topology: pb.Topology) -> list[StoredTensor]:
    try:
        graph = read_graph(read_topology(topology), {tensor.name: tensor.shape for tensor in tensors})
    except InvalidTopology as error:
        raise InvalidNetwork(str(error), field="network.topology", reason="INVALID_TOPOLOGY") from error
    operations = [step.node.operation for step in graph.layers]
    layers = {layer.weight: place for place, layer in enumerate(operations) if isinstance(layer, Linear | Conv)}
    return sorted(tensors, key=lambda tensor: -layers.get(tensor.name, len(layers)))


def _header_of(entries: Mapping[str, Any], tensors: list[StoredTensor]) -> bytes:
    """Return the header of a file with these tensors in this order."""
    metadata = {METADATA: entries[METADATA]} if METADATA in entries else {}
    moved = end_to_end((tensor.name, entries[tensor.name], tensor.length_bytes) for tensor in tensors)
    return with_length(header_text(metadata | moved))
