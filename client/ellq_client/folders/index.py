"""The index of a sharded checkpoint: which shard has which tensor, and how large all of them are."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ellq_client.errors import SourceError
from ellq_client.folders.files import FolderFile
from ellq_client.headers import check_text, unique_entries
from ellq_client.permissions import permissions_of

SUFFIX = ".safetensors.index.json"

_TOTAL = "total_size"


@dataclass(frozen=True)
class Index:
    """An index as it was read."""

    name: str
    """Name of its file."""
    permissions: int
    """Permission bits of its file."""
    text: bytes
    entries: Mapping[str, Any]
    """All of it; `metadata` is an object."""
    weight_map: Mapping[str, str]
    """The name of the shard of every tensor."""

    def told_total(self) -> object:
        """Return what it says all tensors are together, in bytes; None when it says nothing."""
        return self.entries["metadata"].get(_TOTAL)

    def with_total(self, total_bytes: int) -> bytes:
        """Return the text with the true size: the very bytes that were read when they tell it already."""
        if self.told_total() == total_bytes:
            return self.text
        metadata = {**self.entries["metadata"], _TOTAL: total_bytes}
        return json.dumps({**self.entries, "metadata": metadata}, indent=2, ensure_ascii=False).encode() + b"\n"


def read_index(file: FolderFile) -> Index:
    """Return the index in a file. Errors: SourceError."""
    try:
        with file.path.open("rb") as opened:
            permissions, text = permissions_of(os.fstat(opened.fileno())), opened.read()
        entries: Any = json.loads(text, object_pairs_hook=unique_entries)
        check_text(entries)
        weight_map = _object(entries, "the index").get("weight_map")
        names = _object(weight_map, "weight_map")
        metadata = _object(entries.get("metadata") or {}, "metadata")
    except OSError as error:
        raise SourceError(f"cannot read {file.path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file.name} is no index of shards: {error}") from error
    if not names or not all(isinstance(shard, str) for shard in names.values()):
        raise SourceError(f"{file.name} is no index of shards: weight_map must give every tensor the name of its shard")
    return Index(file.name, permissions, text, {**entries, "metadata": metadata}, names)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object")
    return cast("dict[str, Any]", value)
