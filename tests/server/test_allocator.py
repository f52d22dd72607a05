"""How many arenas the threads of a server process make glibc keep."""

import os
import platform
import subprocess
import sys

import pytest

from ellq_server.allocator import ARENAS

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")

EIGHT_THREADS = """
import ctypes, sys, threading
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "shared":
    from ellq_server.allocator import share_arenas
    share_arenas()
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_stats()
"""


def arenas(mode: str, **environment: str) -> int:
    """Return how many arenas eight threads that allocate at once leave in a process."""
    told = subprocess.run(
        [sys.executable, "-c", EIGHT_THREADS, mode],
        env={**{name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stderr.count("Arena ")


def test_threads_share_few_arenas() -> None:
    assert arenas("shared") <= ARENAS < arenas("as glibc likes")


def test_the_environment_has_precedence() -> None:
    assert arenas("shared", MALLOC_ARENA_MAX="5") == 5
