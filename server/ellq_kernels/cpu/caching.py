"""Compiled kernels on disk, so that only the first start on a machine compiles."""

import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding
from numba.core.caching import FunctionCache

import ellq_math

ROOMS = (Path(__file__).parents[1], Path(ellq_math.__file__).parent)
"""Folders whose sources end up in compiled kernels."""


def digest_sources() -> bytes:
    """Return a digest of every source file that kernels are made of."""
    digest = sha256()
    for room in ROOMS:
        for source in sorted(room.rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.digest()


SOURCES = digest_sources()


class KernelCache(FunctionCache):
    """Numba's cache, which watches a kernel's own file but not those of the parts and constants compiled into it."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), SOURCES)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save what was compiled, if the disk takes it: a full one is no reason to fail."""
        with suppress(OSError):
            super().save_overload(sig, data)


def cached(dispatcher: Any) -> Callable[..., Any]:
    """Return the dispatcher with a cache, or as it is where numba finds no folder that it may write to.

    Numba takes NUMBA_CACHE_DIR, then the package's own folder, then the user's cache folder.
    """
    with suppress(RuntimeError):
        dispatcher._cache = KernelCache(dispatcher.py_func)
        _folders.add(Path(dispatcher._cache.cache_path))
    return dispatcher


_folders: set[Path] = set()


def is_cold() -> bool:
    """Tell whether all kernels have yet to be compiled here: there is a cache, and nobody has filled it on such a machine."""
    return bool(_folders) and not all(_mark_in(folder).exists() for folder in _folders)


def note_filled() -> None:
    """Remember that all kernels have been compiled here, if the disk takes it."""
    for folder in _folders:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            _mark_in(folder).touch()


def _mark_in(folder: Path) -> Path:
    """Return the file that says so, by sources, compiler and processor: what numba tells its files apart by."""
    features = binding.get_host_cpu_features().flatten()
    machine = f"{numba.__version__} {sys.implementation.cache_tag} {binding.get_host_cpu_name()} {features}"
    return folder / f"ellq-filled-{sha256(SOURCES + machine.encode()).hexdigest()[:16]}"
