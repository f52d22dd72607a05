"""ONNX models: initializers and constants are sent, and put back where they were. The graph stays as it is."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ellq_client.errors import ExtraMissing, OutputError, SourceError
from ellq_client.formats.contents import Entry, Fill
from ellq_client.formats.layouts import Layout
from ellq_client.permissions import narrowest
from ellq_client.steady_file import SteadyFile

try:
    import onnx
except ImportError as missing:
    raise ExtraMissing("reading an ONNX model needs onnx: pip install 'ellq[onnx]'") from missing

from ellq_client.formats.onnx_data import Range, bytes_of, dtype_of, external_range, has_sizes, is_external, move, put_back
from ellq_client.formats.onnx_graph import Site, sites_of
from ellq_client.formats.onnx_layouts import layout_of

_PAGE_BYTES = 4096
"""Alignment of external data: it lets readers map each tensor into memory."""


class OnnxFile:
    """The constant tensors of a model that have a dtype of safetensors. Errors: SourceError."""

    def __init__(self, path: Path) -> None:
        self._file = SteadyFile(path)
        sites = sites_of(_loaded(path))
        dtypes = {site.name: dtype for site in sites if (dtype := dtype_of(site.tensor)) and has_sizes(site.tensor)}
        self._beside: dict[Path, SteadyFile] = {}
        self.entries: Sequence[Entry] = [self._entry(site, dtypes[site.name]) for site in sites if site.name in dtypes]
        self.layouts: Mapping[str, Layout] = {
            site.name: layout for site in sites if site.name in dtypes and (layout := layout_of(site)) is not None
        }
        self.not_sent: Mapping[str, str] = {
            site.name: "a type or shape that safetensors does not have" for site in sites if site.name not in dtypes
        }
        self._has_external = any(is_external(site.tensor) for site in sites)

    def check_unchanged(self) -> None:
        """Refuse files that are not what they were."""
        for file in (self._file, *self._beside.values()):
            file.check_unchanged()

    @property
    def permissions(self) -> int:
        """Those that the model and all files beside it have in common that were looked into."""
        return narrowest(file.permissions for file in (self._file, *self._beside.values()))

    def companions(self, output: Path) -> Sequence[Path]:
        """Return the file of external data, if the model has any."""
        return [output.with_name(f"{output.name}.data")] if self._has_external else []

    def fills(self, output: Path, changed: Mapping[str, memoryview]) -> Sequence[tuple[Path, Fill]]:
        """Read the model again, and put what changed in its place; what lay in other files goes into one beside the output."""
        model = _loaded(self._file.path)
        sites = sites_of(model)
        for site in sites:
            if site.name in changed and not is_external(site.tensor):
                put_back(site.tensor, changed[site.name])
        external = [site for site in sites if is_external(site.tensor)]
        beside = [(path, self._external_fill(external, path, changed)) for path in self.companions(output)]

        def fill(file: BinaryIO) -> None:
            try:
                file.write(model.SerializeToString())
            except ValueError as error:
                raise OutputError(f"cannot write {output}: {error}") from error

        return [*beside, (output, fill)]

    def _external_fill(self, sites: Sequence[Site], place: Path, changed: Mapping[str, memoryview]) -> Fill:
        """Move tensors to their places in a new file, of which their model is told, and return how to write it."""
        contents: list[tuple[int, memoryview | Range]] = []
        end = 0
        for site in sites:
            begin = -(-end // _PAGE_BYTES) * _PAGE_BYTES
            found = self._external(site)
            contents.append((begin, changed.get(site.name) or found))
            end = begin + found.length
            move(site.tensor, place.name, offset=begin, length=found.length)

        def fill(file: BinaryIO) -> None:
            for begin, data in contents:
                file.seek(begin)
                file.write(self._read(data) if isinstance(data, Range) else data)

        return fill

    def _entry(self, site: Site, dtype: str) -> Entry:
        shape = tuple(site.tensor.dims)
        if not is_external(site.tensor):
            return Entry(site.name, dtype, shape, lambda: bytes_of(site))
        found = self._external(site)
        return Entry(site.name, dtype, shape, lambda: self._read(found))

    def _external(self, site: Site) -> Range:
        """Return where the numbers are. Errors: SourceError for a place where they cannot be."""
        found = external_range(site, self._file.path.parent)
        if found.path not in self._beside:
            self._beside[found.path] = SteadyFile(found.path)
        return found

    def _read(self, found: Range) -> memoryview:
        return self._beside[found.path].read(found.offset, found.offset + found.length)


def _loaded(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)  # pyright: ignore[reportUnknownMemberType]  # of paths
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # protobuf's own errors have no class of their own in all of its versions
        raise SourceError(f"{path} is no ONNX model: {error}") from error
    if (broken := next(_broken_text(model), None)) is not None:
        raise SourceError(f"{path} is no whole ONNX model: the text {broken!r} in it is not UTF-8")
    return model


def _broken_text(message: Message) -> Iterator[bytes]:
    """Yield names that are none: protobuf hands out as bytes what it could not decode."""
    for field, value in message.ListFields():
        if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        for one in (value,) if isinstance(value, str | bytes | Message) else value:
            if isinstance(one, Message):
                yield from _broken_text(one)
            elif isinstance(one, bytes):
                yield one
