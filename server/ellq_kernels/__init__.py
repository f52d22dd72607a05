"""What touches every weight: row statistics, selection and cutting. One contract, several makers, the same bits."""

from collections.abc import Callable
from threading import Lock

from ellq_kernels.contract import Kernels, Weights
from ellq_kernels.warming import warm_up

__all__ = ["MAKERS", "Kernels", "Weights", "make_kernels", "warm_up"]


def make_kernels(kind: str, *, threads: int | None = None) -> Kernels:
    """Return the maker of this kind, a key of MAKERS; ValueError names them all.

    `threads`: how many the maker may compute with, by default one for each core this process may use. Only "cpu" heeds it.
    """
    if kind not in MAKERS:
        raise ValueError(f"kernels {kind!r} are not one of {', '.join(MAKERS)}")
    with _MAKING:
        return MAKERS[kind](threads)


_MAKING = Lock()
"""numba imports itself in circles: two threads that import it at the same time break each other's import."""


def _cpu(threads: int | None) -> Kernels:
    from ellq_kernels.cpu.maker import CpuKernels

    return CpuKernels(threads=threads)


def _reference(threads: int | None) -> Kernels:
    del threads  # torch sizes its own pool
    from ellq_kernels.reference.maker import ReferenceKernels

    return ReferenceKernels(device="cpu")


def _reference_cuda(threads: int | None) -> Kernels:
    del threads
    from ellq_kernels.reference.maker import ReferenceKernels

    return ReferenceKernels(device="cuda")


def _triton(threads: int | None) -> Kernels:
    del threads
    from ellq_kernels.triton.maker import TritonKernels

    return TritonKernels()


MAKERS: dict[str, Callable[[int | None], Kernels]] = {
    "cpu": _cpu,
    "reference": _reference,
    "reference-cuda": _reference_cuda,
    "triton": _triton,
}
"""Kind -> maker. Imports wait until the choice is made: numba and torch are heavy, and no maker needs both."""
