"""`python -m ellq_server.warm_up`: compile the CPU kernels into their cache, for images and first starts."""

import os
import subprocess
import sys
from threading import Thread

from ellq_kernels import make_kernels, warm_up
from ellq_server.logs import log

_WITH_PARENT = "--end-with-parent"
_LEFT_ALONE = 1
"""Exit code of a compilation whose result nobody waits for any more."""


def fill_cold_cache() -> None:
    """Compile in a process of its own where nothing is compiled yet: what the compiler takes goes with it.

    In this process it would stay for ever, 150 to 300 MB (2026-11-22). Whatever goes wrong there is left to the
    warm-up of this process, which compiles what it misses. The kernels must have been made: each tells where it is cached.
    However this process ends, killed or told to, that one ends with it: its standard input is a pipe that closes then.
    """
    from ellq_kernels.cpu.caching import is_cold

    if is_cold():
        log.info("compiling", seconds_expected="tens, once for each version and kind of processor")
        command = [sys.executable, "-m", "ellq_server.warm_up", _WITH_PARENT]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as compiling:
            compiling.wait()


def compiles_first() -> bool:
    """Tell whether the CPU kernels have yet to be compiled into their cache."""
    # Only kernels that are there tell where they are cached; and before any import of numba, which the server's own thread may
    # be at: there one waits for the other.
    make_kernels("cpu", threads=1)
    from ellq_kernels.cpu.caching import is_cold

    return is_cold()


def note_compiled() -> None:
    """Remember that they have been, by a warm-up in this process or another."""
    from ellq_kernels.cpu.caching import note_filled

    note_filled()


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing ever comes but the end; sys.stdin itself would hold a lock at a normal exit
    os._exit(_LEFT_ALONE)


if __name__ == "__main__":
    if _WITH_PARENT in sys.argv:
        Thread(target=_end_with_parent, daemon=True).start()
    warm_up(make_kernels("cpu"))
    note_compiled()
