import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from ellq_kernels.cpu import caching

UNWRITABLE = "/proc/nowhere"  # no user may create a folder there, root included


def hits_and_misses() -> tuple[int, int]:
    """Compile one more copy of the same function and tell whether it came from the disk."""

    def twice(value):
        return 2 * value

    dispatcher = caching.cached(numba.njit(twice))
    assert dispatcher(21) == 42
    return sum(dispatcher.stats.cache_hits.values()), sum(dispatcher.stats.cache_misses.values())


def test_a_change_of_any_source_makes_compiled_kernels_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert hits_and_misses() == (0, 1)
    assert hits_and_misses() == (1, 0)
    monkeypatch.setattr(caching, "SOURCES", b"other sources")
    assert hits_and_misses() == (0, 1)


def test_the_digest_covers_both_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = tmp_path / "kernels", tmp_path / "math"
    for room in rooms:
        (room / "cpu").mkdir(parents=True)
        (room / "cpu" / "part.py").write_text("")
    monkeypatch.setattr(caching, "ROOMS", rooms)
    seen = {caching.digest_sources()}
    for room in rooms:
        (room / "cpu" / "part.py").write_text("changed")
        seen.add(caching.digest_sources())
    assert len(seen) == 3


def test_kernels_compile_where_nothing_can_be_written() -> None:
    program = "from ellq_kernels.cpu.decoding import chunks_of; print(chunks_of(1025), type(chunks_of._cache).__name__)"
    settings = os.environ | {"NUMBA_CACHE_DIR": UNWRITABLE, "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    found = subprocess.run([sys.executable, "-c", program], env=settings, check=True, capture_output=True, text=True)
    assert found.stdout == "2 NullCache\n"


def told(program: str, folder: Path | str) -> str:
    settings = os.environ | {"NUMBA_CACHE_DIR": str(folder), "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    imports = "import ellq_kernels.cpu.maker; from ellq_kernels.cpu import caching; "
    command = [sys.executable, "-c", imports + program]
    return subprocess.run(command, env=settings, check=True, capture_output=True, text=True).stdout


def test_a_cache_is_cold_until_all_kernels_have_been_compiled_from_these_sources(tmp_path: Path) -> None:
    assert told("print(caching.is_cold()); caching.note_filled()", tmp_path) == "True\n"
    assert told("print(caching.is_cold())", tmp_path) == "False\n"
    assert told("caching.SOURCES = b'other'; print(caching.is_cold())", tmp_path) == "True\n"


def test_there_is_nothing_to_fill_where_nothing_can_be_written() -> None:
    assert told("print(caching.is_cold()); caching.note_filled()", UNWRITABLE) == "False\n"
