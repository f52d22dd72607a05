"""Long computations ask here, every now and then, whether anybody still waits for them.

What asks lies deep below what knows, so the question goes by a variable of the context, not through every signature.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar


class Interrupted(Exception):
    """Nobody waits any more for what is computed."""


_wanted: ContextVar[Callable[[], bool]] = ContextVar("wanted", default=lambda: True)


def end_if_unwanted() -> None:
    """Go on only if somebody still waits. Errors: Interrupted."""
    if not _wanted.get()():
        raise Interrupted


@contextmanager
def interruptible(wanted: Callable[[], bool]) -> Generator[None]:
    """Let computations below end once `wanted` says that nobody waits for them."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)
