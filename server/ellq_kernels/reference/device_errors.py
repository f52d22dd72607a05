"""What torch and Triton raise where a device fails, told apart by what can still be done."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

from ellq_kernels.contract import DeviceLost

NO_MEMORY = ("out of memory", "can't allocate memory")
"""What torch, Triton and the driver say of a device, and torch of the host; only the first has a class of its own for it."""

Maker = TypeVar("Maker")


def on_a_device(maker: type[Maker]) -> type[Maker]:
    """Let every operation of a maker raise MemoryError and DeviceLost, as the contract has it, where CUDA fails."""
    for name, operation in list(vars(maker).items()):
        if inspect.isfunction(operation) and not name.startswith("_"):
            setattr(maker, name, _told_apart(operation))
    return maker


def _told_apart(operation: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(operation)
    def called(*arguments: Any, **options: Any) -> Any:
        try:
            return operation(*arguments, **options)
        except DeviceLost:  # of an operation within this one
            raise
        except RuntimeError as error:
            if _is_lost():
                raise DeviceLost(f"the device computes no more: {error}") from error
            if any(words in str(error) for words in NO_MEMORY):
                raise MemoryError(str(error)) from error
            raise

    return called


def _is_lost() -> bool:
    """Ask whether the device still answers. After a fault (a wild address, a failing memory chip) it never does."""
    if not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
