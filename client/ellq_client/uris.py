"""What is a URI, for the server to open, and what a path on this side."""

import os
import re
from pathlib import Path
from typing import TypeAlias, TypeGuard

from ellq_client.errors import InvalidRequest

AnyPath: TypeAlias = str | os.PathLike[str]

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_NEARLY = re.compile(r"(s3|gs|az|hf|file):(?=/)")
"""How a URI begins that lacks a slash."""


def is_uri(place: object) -> TypeGuard[str]:
    """Return whether a source or an output is the server's to open. Which URIs it opens it says itself."""
    return isinstance(place, str) and _URI.match(place) is not None


def place_of(place: AnyPath) -> Path | str:
    """Return a place as a URI or as a path. Errors: InvalidRequest for what is nearly a URI."""
    if is_uri(place):
        return place
    check_path(place)
    return Path(place)


def check_path(place: object) -> None:
    """Refuse a path that is a URI but for a slash, unless there is such a folder. Errors: InvalidRequest."""
    nearly = _NEARLY.match(str(place)) if isinstance(place, str | Path) else None
    if nearly and not os.path.lexists(nearly[0]):
        form = f"{nearly[1]}://" + ("/" if nearly[1] == "file" else "")
        raise InvalidRequest(f"{nearly[0]}/... is neither a path that is there nor a URI, which begins with {form}")
