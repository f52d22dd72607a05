"""Fits a request to what it is about: how tensors lie in a file, and which of them are no weights of layers.

The request that results is what a report tells of. What the caller says of a tensor wins over what its format says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from ellq.v1 import compression_pb2 as pb
from ellq_client.enclosures import Enclosures
from ellq_client.errors import SourceError
from ellq_client.formats.layouts import Layout, globs_of
from ellq_client.formats.names import layouts_by_name
from ellq_client.formats.source import FormatSource
from ellq_client.headers import StoredTensor
from ellq_client.requests import Override, Request
from ellq_client.sources import Source


def layouts_of(source: Source) -> Mapping[str, Layout]:
    """Return where tensors depart from the defaults, by name: as their format says, else as names and shapes show."""
    if isinstance(source, FormatSource):
        return source.contents.layouts
    return layouts_by_name({tensor.name: tensor.shape for tensor in _tensors(source)})


def fitted(request: Request, source: Source, enclosures: Enclosures) -> Request:
    """Return the request with an override for every tensor that lies otherwise; the caller's come later and win.

    What the network describes needs none.
    """
    try:
        tensors = _tensors(source)
    except SourceError:
        return request  # a stream that does not hold together is for the server to judge
    named = set(_weights_of(enclosures.network))
    weights = [tensor.name for tensor in tensors if len(tensor.shape) > 1 and "F" in tensor.dtype]
    layouts = layouts_of(source)
    wanted = {
        name: layouts[name]
        for name in weights
        if name in layouts and name not in named and not _settled(name, layouts[name], request)
    }
    overrides = [
        Override(glob, skip=layout.left_alone, neuron_axis=layout.neuron_axis)
        for glob, layout in globs_of(wanted, weights).items()
    ]
    return replace(request, overrides=(*overrides, *request.overrides)) if overrides else request


def _settled(name: str, layout: Layout, request: Request) -> bool:
    """Return whether the caller has said of a tensor what its layout says."""
    overrides = [override for override in request.overrides if fnmatchcase(name, override.glob)]
    if layout.left_alone:
        included = any(fnmatchcase(name, glob) for glob in request.include)
        return included or any(override.skip or override.rule is not None for override in overrides)
    return any(override.neuron_axis for override in overrides)


def _weights_of(network: pb.Network | None) -> Iterator[str]:
    """Yield the tensors of which the network says itself how they lie."""
    for node in () if network is None else network.topology.nodes:
        operation = node.WhichOneof("operation")
        if operation in ("linear", "conv"):
            yield getattr(node, operation).weight


def _tensors(source: Source) -> tuple[StoredTensor, ...]:
    return source.header.tensors
