"""What is a URI, for the server to open, and what a path on this side."""

import os
import re
from pathlib import Path
from typing import TypeGuard

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_uri(place: object) -> TypeGuard[str]:
    """Return whether a source or an output is the server's to open. Which URIs it opens it says itself."""
    return isinstance(place, str) and _URI.match(place) is not None


def place_of(place: str | os.PathLike[str]) -> Path | str:
    """Return a place as a URI or as a path."""
    return place if is_uri(place) else Path(place)
