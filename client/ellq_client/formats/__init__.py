"""Checkpoints that are no safetensors files: read as the stream of their tensors, written back as what they were.

    .pt .pth .bin    PyTorch, read as data alone: no pickle is ever executed        torch_file, torch_tree
    .onnx            initializers and constants, as their nodes lay them out        onnx_file, _graph, _layouts, _data
    .gguf            tensors of plain numbers; quantised ones stay as they are      gguf_file, gguf_header
    .npz             numpy arrays                                                   npz_file

Each is opened as `Contents`; `FormatSource` makes a stream of it. Nothing here knows the server.
"""

from importlib import import_module
from pathlib import Path

from ellq_client.errors import SourceError
from ellq_client.formats.contents import Contents
from ellq_client.formats.source import FormatSource
from ellq_client.mistaken import PREFIX_BYTES, mistaken
from ellq_client.steady_file import SteadyFile

_FAMILIES: dict[tuple[str, ...], tuple[str, str]] = {
    (".pt", ".pth", ".bin"): ("torch_file", "TorchFile"),
    (".onnx",): ("onnx_file", "OnnxFile"),
    (".gguf",): ("gguf_file", "GgufFile"),
    (".npz",): ("npz_file", "NpzFile"),
}
"""Suffixes that name one format, and the class that opens it; imported when it is needed, as its libraries are large."""

__all__ = ["Contents", "FormatSource", "family_of", "open_format"]


def family_of(path: Path) -> tuple[str, ...] | None:
    """Return the suffixes of a file's format; None for one that is read as safetensors."""
    return next((family for family in _FAMILIES if path.suffix.lower() in family), None)


def open_format(path: Path) -> FormatSource:
    """Open a file that has a family. Errors: SourceError; ExtraMissing when the format's own library is not installed."""
    family = family_of(path)
    assert family is not None, "the caller asks family_of first"
    module, name = _FAMILIES[family]
    opened = getattr(import_module(f"ellq_client.formats.{module}"), name)
    try:
        contents: Contents = opened(path)
    except SourceError as error:
        if what := _mistaken(path, family):
            raise SourceError(f"{path} is no {path.suffix} file: it is {what}") from error
        raise
    return FormatSource(path, contents, suffixes=family)


def _mistaken(path: Path, family: tuple[str, ...]) -> str | None:
    """Return what a file that could not be read is instead; None when nothing tells."""
    try:
        return mistaken(SteadyFile(path).head(PREFIX_BYTES), suffixes=family)
    except SourceError:
        return None  # it cannot be read at all, which has been told
