"""Models and data as they were published in packages; `make` installs them, pinned."""

import importlib.util
from pathlib import Path


def published(package: str, place: str = ".") -> Path:
    """Return a file or the folder of a package, which is not imported."""
    found = importlib.util.find_spec(package)
    assert found, f"run `make test`, which installs {package}"
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / place
