"""The next tensor is worked on while this one is hashed and written."""

import traceback
from collections.abc import Generator
from contextlib import closing
from contextvars import copy_context
from threading import Condition, Thread
from typing import Generic, TypeVar

Value = TypeVar("Value")


def ahead(values: Generator[Value]) -> Generator[Value]:
    """Yield what a generator yields, while a thread of its own makes the next value: never more than one of them waits.

    Errors: those of the generator. It is closed when this one is, and not before its thread has let go of everything.
    """
    hand = _Hand[Value]()
    context = copy_context()  # in which the values can be interrupted
    thread = Thread(target=context.run, args=(_feed, values, hand), name="ellq-ahead", daemon=True)
    thread.start()
    try:
        yield from iter(hand.take, None)
    finally:
        hand.leave()
        thread.join()


class _Hand(Generic[Value]):
    """Passes values from one thread to another; the giver waits until each is taken."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._held: list[Value] = []
        self._over = False
        self._error: BaseException | None = None

    def give(self, value: Value) -> bool:
        """Hand a value over; tell whether somebody waits for more."""
        with self._changed:
            self._held.append(value)
            self._changed.notify_all()
            del value  # or its weights would live as long as the next ones are worked on
            self._changed.wait_for(lambda: self._over or not self._held)
            return not self._over

    def end(self, error: BaseException | None) -> None:
        """Tell that no more values come, and why."""
        with self._changed:
            self._over, self._error = True, error
            self._changed.notify_all()

    def take(self) -> Value | None:
        """Wait for the next value; None after the last. Errors: the one that ended them."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._held)
            if self._held:
                value = self._held.pop()
                self._changed.notify_all()
                return value
            error, self._error = self._error, None  # or error and traceback would hold each other through this frame
        try:
            if error is not None:
                raise error
            return None
        finally:
            del error

    def leave(self) -> None:
        """Tell that nobody waits any more."""
        with self._changed:
            self._over = True
            self._held.clear()
            self._changed.notify_all()


def _feed(values: Generator[Value], hand: _Hand[Value]) -> None:
    error: BaseException | None = None
    try:
        with closing(values):
            # no name for the value: it would keep the weights of one tensor while the next is worked on
            while hand.give(next(values)):
                pass
    except StopIteration:
        pass
    except BaseException as raised:
        # the traceback and this frame hold each other, and through them whole tensors, until the collector comes
        traceback.clear_frames(raised.__traceback__)
        error = raised
    try:
        hand.end(error)
    finally:
        del error
