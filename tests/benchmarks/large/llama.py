"""A checkpoint like those of Llama, of any size: bf16 with heavy tails, in shards, written faster than numbers can be drawn."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

INDEX = "model.safetensors.index.json"
ITEM_BYTES = 2

_DRAWN = (1 << 23) + 15
"""Weights that are drawn; odd, so that rows of a usual length do not repeat one another."""

_STEP = 1_000_003
"""How much further on each tensor begins in what was drawn."""


@dataclass(frozen=True)
class Tensor:
    """A tensor to be written."""

    name: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Length in the file."""
        return prod(self.shape) * ITEM_BYTES


def write_llama(folder: Path, *, size_bytes: int, shards: int, seed: int) -> list[Tensor]:
    """Write index, configuration and shards of about so many bytes together, and return all tensors."""
    folder.mkdir(parents=True)
    hidden = 4096 if size_bytes >= 4e9 else 1024
    tensors = list(_tensors(size_bytes, hidden=hidden))
    drawn = _heavy_tailed(seed)
    total = sum(tensor.size_bytes for tensor in tensors)
    weight_map: dict[str, str] = {}
    written = 0
    for number, part in enumerate(_parts(tensors, shards), 1):
        name = f"model-{number:05d}-of-{shards:05d}.safetensors"
        _write_shard(folder / name, part, drawn, first=written)
        weight_map |= dict.fromkeys((tensor.name for tensor in part), name)
        written += len(part)
    told = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": hidden, "torch_dtype": "bfloat16"}))
    return tensors


def _tensors(size_bytes: int, *, hidden: int) -> Iterator[Tensor]:
    """Yield embedding, layers as many as there is room for, one at least, norm and head."""
    rows, inner = 8 * hidden, 43 * hidden // 16
    layer_bytes = ITEM_BYTES * (4 * hidden * hidden + 3 * hidden * inner + 2 * hidden)
    tables_bytes = 2 * ITEM_BYTES * rows * hidden
    yield Tensor("model.embed_tokens.weight", (rows, hidden))
    for number in range(max(1, round((size_bytes - tables_bytes) / layer_bytes))):
        layer = f"model.layers.{number}"
        yield Tensor(f"{layer}.input_layernorm.weight", (hidden,))
        for name in "qkvo":
            yield Tensor(f"{layer}.self_attn.{name}_proj.weight", (hidden, hidden))
        yield Tensor(f"{layer}.post_attention_layernorm.weight", (hidden,))
        for name in ("gate", "up"):
            yield Tensor(f"{layer}.mlp.{name}_proj.weight", (inner, hidden))
        yield Tensor(f"{layer}.mlp.down_proj.weight", (hidden, inner))
    yield Tensor("model.norm.weight", (hidden,))
    yield Tensor("lm_head.weight", (rows, hidden))


def _parts(tensors: list[Tensor], shards: int) -> Iterator[list[Tensor]]:
    """Yield the tensors of each shard, in order and of about the same length; never none."""
    if len(tensors) < shards:
        raise SystemExit(f"{len(tensors)} tensors do not fill {shards} shards; ask for fewer")
    remaining_bytes, first = sum(tensor.size_bytes for tensor in tensors), 0
    for shard in range(shards, 0, -1):
        wanted, held, end = remaining_bytes / shard, 0, first
        last = len(tensors) - shard + 1  # one for each of those that follow
        while end < last and (shard == 1 or end == first or held + tensors[end].size_bytes / 2 <= wanted):
            held += tensors[end].size_bytes
            end += 1
        yield tensors[first:end]
        remaining_bytes, first = remaining_bytes - held, end


def _write_shard(path: Path, tensors: list[Tensor], drawn: np.ndarray, *, first: int) -> None:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.size_bytes
        entries[tensor.name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [begin, end]}
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for number, tensor in enumerate(tensors, first):
            file.writelines(_pieces(drawn, start=number * _STEP % _DRAWN, count=prod(tensor.shape)))


def _pieces(drawn: np.ndarray, *, start: int, count: int) -> Iterator[memoryview]:
    while count:
        piece = drawn[start : start + count]
        count, start = count - len(piece), 0
        yield piece.data.cast("B")


def _heavy_tailed(seed: int) -> np.ndarray:
    """Return weights as the upper halves of float32, whose variance exists and whose fourth moment does not."""
    weights = np.random.default_rng(seed).standard_t(3, _DRAWN).astype(np.float32) * np.float32(0.02)
    return np.ascontiguousarray(weights.view(np.uint16)[1::2])
