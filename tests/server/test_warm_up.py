"""Compiling in a process of its own, which ends with the one that began it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COLD = """
import ellq_kernels
from ellq_server.warm_up import fill_cold_cache
ellq_kernels.make_kernels("cpu", threads=1)
fill_cold_cache()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tells processes apart by /proc")


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def works(process: int) -> bool:
    """Return whether a process is there, and no more than an entry that nobody has collected yet."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() != b""
    except OSError:
        return False


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_compilation_ends_with_the_server_that_began_it(tmp_path: Path, end: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", COLD], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}) as server:
        while not (compiling := children(server.pid)):
            assert server.poll() is None
            time.sleep(0.01)
        server.send_signal(end)
    deadline = time.monotonic() + 60
    while works(compiling[0]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not works(compiling[0])
    assert not list(tmp_path.rglob("ellq-filled-*")), "it was not done"
