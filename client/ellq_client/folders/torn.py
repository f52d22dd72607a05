"""Layers that a folder tears apart: a scale in one shard, its weights in another. The service sees one shard at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ellq.v1.meanings import read_meanings
from ellq.v1.safetensors import COMPRESSIBLE_DTYPES
from ellq_client.folders.folder import Shard
from ellq_client.formats.layouts import globs_of, left_alone
from ellq_client.headers import StoredTensor
from ellq_client.requests import Request

_WHY = "its shard alone does not tell what it is"


def without_torn(request: Request, shards: Sequence[Shard]) -> Request:
    """Return the request without the tensors that mean something else in the whole folder than in their shard."""
    alone = dict.fromkeys(torn(shards), left_alone(_WHY))
    if not alone:
        return request
    weights = [tensor.name for shard in shards for tensor in shard.tensors if _could_be_weights(tensor)]
    return replace(request, exclude=(*request.exclude, *globs_of(alone, weights)))


def torn(shards: Sequence[Shard]) -> Iterator[str]:
    """Yield the names of these tensors."""
    whole = read_meanings(list(_one_after_the_other(shards)))
    for shard in shards:
        alone = read_meanings(shard.tensors)
        for tensor in shard.tensors:
            name = tensor.name
            means = whole.reason(name), whole.scale_of(name)
            if _could_be_weights(tensor) and alone.reason(name) is None and means != (None, alone.scale_of(name)):
                yield name


def _could_be_weights(tensor: StoredTensor) -> bool:
    return tensor.dtype in COMPRESSIBLE_DTYPES and len(tensor.shape) > 1


def _one_after_the_other(shards: Sequence[Shard]) -> Iterator[StoredTensor]:
    """Yield all tensors as if they lay in one file."""
    begin = 0
    for shard in shards:
        for tensor in shard.tensors:
            yield replace(tensor, begin=begin, end=begin + tensor.length_bytes)
            begin += tensor.length_bytes
