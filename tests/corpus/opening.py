"""What the library of each format finds in a file: its numbers as bytes, by name."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from gguf import GGUFReader
from safetensors import deserialize


def numbers_in(path: Path) -> dict[str, bytes]:
    """Return the bytes of every tensor, read by the format's own library; those of all files of a folder."""
    if path.is_dir():
        return {
            f"{one.relative_to(path)}:{name}": data for one in weights_below(path) for name, data in numbers_in(one).items()
        }
    return _OPENERS.get(path.suffix.lower(), _safetensors)(path)


def weights_below(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder and those in it."""
    return sorted(path for path in folder.rglob("*.safetensors") if path.is_file())


def _safetensors(path: Path) -> dict[str, bytes]:
    return {name: bytes(told["data"]) for name, told in deserialize(path.read_bytes())}


def _npz(path: Path) -> dict[str, bytes]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name].tobytes() for name in arrays}


def _gguf(path: Path) -> dict[str, bytes]:
    return {tensor.name: bytes(tensor.data.tobytes()) for tensor in GGUFReader(path).tensors}


def _torch(path: Path) -> dict[str, bytes]:
    return dict(_tensors_in(torch.load(path, weights_only=True), ""))


def _tensors_in(value: Any, name: str) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _tensors_in(below, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        yield from _tensors_in(dict(enumerate(value)), name)
    elif isinstance(value, torch.Tensor):
        yield name or "tensor", repr(value).encode() if _is_special(value) else _bytes_of(value)


def _bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _is_special(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has no bytes to look at."""
    return tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu" or not tensor.numel()


def _onnx(path: Path) -> dict[str, bytes]:
    return dict(_initializers(onnx.load(path).graph, ""))


def _initializers(graph: onnx.GraphProto, name: str) -> Iterator[tuple[str, bytes]]:
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        yield f"{name}.{tensor.name}", repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _initializers(attribute.g, f"{name}.{attribute.name}")


_OPENERS: dict[str, Callable[[Path], dict[str, bytes]]] = {
    ".npz": _npz,
    ".gguf": _gguf,
    ".onnx": _onnx,
    ".pt": _torch,
    ".pth": _torch,
    ".bin": _torch,
}
"""By suffix; every other is read as safetensors."""
