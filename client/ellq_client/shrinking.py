"""Dead neurons taken out for good: a smaller file and the network that goes with it. No server is needed."""

from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ellq_client.arrays import numpy_array, safetensors_header, sorted_for_file, weight_bytes
from ellq_client.counting import counted, grouped
from ellq_client.errors import InvalidNetwork, SourceError
from ellq_client.graphs import read_topology, write_topology
from ellq_client.networks import Network
from ellq_client.packing.reading import open_checkpoint
from ellq_client.partial_file import check_place, write_file
from ellq_client.steady_file import SteadyFile
from ellq_math.network.shrinking import Shrunk, shrink
from ellq_math.network.topology import InvalidTopology, tensor_names


def shrink_file(path: Path, output: Path, network: Network, network_output: Path, *, replace: bool = True) -> tuple[str, ...]:
    """Write what is left of a file without dead neurons, and the network of it; return what was done, a sentence each.

    Tensors that the network does not use stay as they are. What can only stay is named. Without `replace` no file that is
    there is replaced. Errors: SourceError, OutputError, InvalidNetwork when the network is not of this file.
    """
    check_place(output)
    arrays = _read(path)
    message = network.to_proto()
    topology = read_topology(message.topology)
    used = {name for node in topology.nodes for name in tensor_names(node.operation)} & arrays.keys()
    try:
        shrunk = shrink(topology, {name: _numbers(name, arrays[name]) for name in used})
    except InvalidTopology as error:
        raise InvalidNetwork(f"the network is not of {path}: {error}", reason="INVALID_TOPOLOGY") from error
    smaller = {**arrays, **shrunk.tensors}
    message.topology.CopyFrom(write_topology(shrunk.topology))
    permissions = SteadyFile(path).permissions
    _write(output, smaller, permissions=permissions, replace=replace)
    with ExitStack() as undo:
        if not replace:
            undo.callback(output.unlink)
        Network.from_proto(message).save(network_output, permissions=permissions, replace=replace)
        undo.pop_all()
    return _told(shrunk, before=_size(arrays), after=_size(smaller))


def _read(path: Path) -> dict[str, Any]:
    with open_checkpoint(path) as file:
        return {
            one.name: numpy_array(file.read(one.begin, one.length_bytes), dtype=one.dtype, shape=one.shape, name=one.name)
            for one in file.tensors
        }


def _numbers(name: str, array: Any) -> Any:
    """Return the array. Errors: SourceError when it holds no finite numbers."""
    if not np.isfinite(array.astype(np.float64)).all():
        raise SourceError(f"tensor {name!r} holds NaN or infinity: what is dead in its network cannot be told")
    return array


def _write(output: Path, arrays: dict[str, Any], *, permissions: int, replace: bool) -> None:
    ordered = dict(sorted_for_file(arrays))
    pieces = chain([safetensors_header(ordered)], map(weight_bytes, ordered.values()))
    write_file(output, pieces, permissions=permissions, replace=replace)


def _size(arrays: dict[str, Any]) -> int:
    return sum(array.nbytes for array in arrays.values())


def _told(shrunk: Shrunk, *, before: int, after: int) -> tuple[str, ...]:
    gone = [f"removed    {counted(count, 'neuron')} of node {node!r}" for node, count in shrunk.removed.items()]
    stays = [f"stays      {counted(stay.neurons, 'neuron')} of node {stay.node!r}: {stay.why}" for stay in shrunk.stays]
    rounded = [f"rounded    bias {name!r} took in a constant" for name in shrunk.rounded]
    written = f"written    {counted(after, 'byte')} of weights, {grouped(before)} before"
    return (*(gone or ["removed    nothing: no neuron is dead that can go"]), *stays, *rounded, written)
