"""A checkpoint in a folder, read and checked as a whole before any of its weights is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ellq_client.errors import SourceError
from ellq_client.folders.files import WEIGHTS, FolderFile, list_files, refuse
from ellq_client.folders.index import SUFFIX, Index, read_index
from ellq_client.formats import family_of
from ellq_client.headers import StoredTensor
from ellq_client.packing.naming import dense_name
from ellq_client.packing.source import PackedSource
from ellq_client.permissions import narrowest
from ellq_client.sources import FileSource, open_safetensors

_OF_TRAINING = ("optimizer", "rng_state", "scaler", "scheduler", "training_args")
"""How names of files begin that lie beside weights and are none, in formats that hold weights."""

_MOST_NAMES = 5


@dataclass(frozen=True)
class Shard:
    """One file of weights."""

    name: str
    """When it is dense; that of a packed file is another: see packing.naming."""
    source: FileSource | PackedSource
    """Reads the file, and refuses it when it is no longer the one that was checked."""

    @property
    def header(self) -> bytes:
        """Its length bytes included."""
        return self.source.header.text

    @property
    def tensors(self) -> tuple[StoredTensor, ...]:
        """In offset order."""
        return self.source.header.tensors

    @property
    def path(self) -> Path:
        """Where its bytes lie."""
        return self.source.path

    @property
    def payload_bytes(self) -> int:
        """Bytes of all its tensors."""
        return self.source.size_bytes - len(self.header)


@dataclass(frozen=True)
class Folder:
    """A checkpoint whose shards, index and headers agree."""

    path: Path
    """As the caller named it."""
    shards: tuple[Shard, ...]
    """By name; one when there is no index."""
    index: Index | None
    others: tuple[FolderFile, ...]
    """Everything else: configuration, tokenizer, licence, ..."""

    @property
    def name(self) -> str:
        """What a person would call it."""
        return self.path.name or self.path.resolve().name

    @property
    def permissions(self) -> int:
        """Permission bits that all shards have in common."""
        return narrowest(shard.source.permissions for shard in self.shards)

    @property
    def payload_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(shard.payload_bytes for shard in self.shards)

    @property
    def size_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.source.size_bytes for shard in self.shards)


def open_folder(path: Path) -> Folder:
    """Return the checkpoint in a folder, of whose weights none is read. Errors: SourceError that lists all that is wrong.

    The folder holds an index (*.safetensors.index.json) with its shards, or else exactly one .safetensors file. Files of
    weights in folders inside it are other files.
    """
    files = {file.name: file for file in list_files(path)}
    refuse(path, list(_unspeakable(path, files)))
    index = _find_index(path, files)
    weights = _weights(path, files)
    refuse(path, _misplaced(index, weights, _elsewhere(path, files)))
    shards = _open_shards(path, weights)
    if index is not None:
        refuse(path, list(_contradictions(index, shards)))
    taken = {*(file.name for file in weights.values()), *([] if index is None else [index.name])}
    return Folder(path, shards, index, tuple(file for name, file in files.items() if name not in taken))


def _unspeakable(path: Path, files: Mapping[str, FolderFile]) -> Iterator[str]:
    """Yield names that neither an index nor a report can hold; of other files any name can be copied."""
    for name in (path.resolve().name, *(name for name in files if name.endswith((WEIGHTS, SUFFIX)) and "/" not in name)):
        try:
            name.encode()
        except UnicodeEncodeError:
            yield f"the name {name!a} is not UTF-8; rename it"


def _find_index(path: Path, files: Mapping[str, FolderFile]) -> Index | None:
    names = [name for name in files if name.endswith(SUFFIX) and "/" not in name]
    if len(names) > 1:
        refuse(path, [f"it has {len(names)} indices ({', '.join(names)}); allowed is one: keep one checkpoint a folder"])
    return read_index(files[names[0]]) if names else None


def _weights(path: Path, files: Mapping[str, FolderFile]) -> dict[str, FolderFile]:
    """Return the files of weights by the names that they have when they are dense."""
    found: dict[str, FolderFile] = {}
    for name, file in files.items():
        if name.endswith(WEIGHTS) and "/" not in name:
            other = found.setdefault(dense_name(name), file)
            if other is not file:
                refuse(path, [f"{other.name} and {name} are the same shard, dense and packed; move one of them elsewhere"])
    return found


def _misplaced(index: Index | None, weights: Mapping[str, FolderFile], elsewhere: Sequence[str]) -> list[str]:
    """Return what is wrong with the set of files; of a folder without weights also where there are some."""
    if index is None:
        if len(weights) == 1:
            return []
        found = ", ".join(sorted(weights)) or "none"
        alone = f"it has no *{SUFFIX}, so there must be exactly one {WEIGHTS} file in it; found: {found}"
        return [alone] if weights else [alone, *elsewhere]
    named = set(index.weight_map.values())
    missing, strays = sorted(named - {*weights}), sorted({*weights} - named)
    missing = [f"{index.name} names the shard {name!r}, which is no {WEIGHTS} file here" for name in missing]
    strays = [f"{name} is no shard that {index.name} names; move it elsewhere" for name in strays]
    return missing + strays


def _elsewhere(path: Path, files: Mapping[str, FolderFile]) -> list[str]:
    """Return which weights lie here otherwise than as shards, and what to name instead."""
    formats = [name for name in files if "/" not in name and family_of(Path(name)) and not name.startswith(_OF_TRAINING)]
    inside = sorted({name.rpartition("/")[0] for name in files if name.endswith(WEIGHTS) and "/" in name})
    told: list[str] = []
    if formats:
        told.append(f"weights of another format are taken file by file: ellq compress {path / formats[0]} ({_some(formats)})")
    if inside:
        told.append(f"weights of folders in it are taken folder by folder: ellq compress {path / inside[0]} ({_some(inside)})")
    return told


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"here: {', '.join(names[:_MOST_NAMES])}{more}"


def _open_shards(path: Path, weights: Mapping[str, FolderFile]) -> tuple[Shard, ...]:
    """Return the shards. Errors: SourceError that lists every file that is none."""
    shards: list[Shard] = []
    problems: list[str] = []
    for name in sorted(weights):
        try:
            shards.append(_open_shard(name, weights[name]))
        except SourceError as error:
            problems.append(str(error))
    refuse(path, problems)
    return tuple(shards)


def _open_shard(name: str, file: FolderFile) -> Shard:
    source = open_safetensors(file.path, name=name)
    if name != file.name and isinstance(source, FileSource):
        raise SourceError(f"{file.name} is named like a packed shard, but is not packed; rename it")
    return Shard(name, source)


def _contradictions(index: Index, shards: Sequence[Shard]) -> Iterator[str]:
    """Yield what the index and the headers tell differently."""
    places: dict[str, list[str]] = {}
    for shard in shards:
        for tensor in shard.tensors:
            places.setdefault(tensor.name, []).append(shard.name)
    for name, told in index.weight_map.items():
        found = places.get(name, [])
        if told not in found:
            yield f"{index.name} says that tensor {name!r} is in {told}; it is in {' and '.join(found) or 'no shard'}"
    for name, found in places.items():
        if len(found) > 1:
            yield f"tensor {name!r} is in {' and '.join(found)}; allowed is one place"
        elif name not in index.weight_map:
            yield f"tensor {name!r} of {found[0]} is not in {index.name}"
