"""The next value is made while this one is used, and whatever ends it ends both sides."""

import gc
import threading
import weakref
from collections.abc import Generator

import pytest

from ellq_server.ahead import ahead


def test_all_values_come_in_order() -> None:
    assert list(ahead(value for value in range(1, 100))) == list(range(1, 100))


def test_the_next_value_is_made_while_this_one_is_used() -> None:
    second_is_made = threading.Event()

    def values() -> Generator[int]:
        yield 1
        second_is_made.set()
        yield 2

    passing = ahead(values())
    assert next(passing) == 1
    assert second_is_made.wait(timeout=10)
    assert list(passing) == [2]


def test_only_one_value_waits() -> None:
    made: list[int] = []

    def values() -> Generator[int]:
        for value in range(1, 5):
            made.append(value)
            yield value

    passing = ahead(values())
    for used in range(1, 5):
        assert next(passing) == used
        assert len(made) <= used + 1


def test_an_error_comes_where_it_was_raised() -> None:
    def values() -> Generator[int]:
        yield 1
        raise KeyError("second")

    passing = ahead(values())
    assert next(passing) == 1
    with pytest.raises(KeyError, match="second"):
        next(passing)


def test_leaving_half_way_closes_the_source_and_ends_its_thread() -> None:
    closed = threading.Event()

    def values() -> Generator[int]:
        try:
            yield from range(1, 100)
        finally:
            closed.set()

    before = threading.active_count()
    passing = ahead(values())
    assert next(passing) == 1
    assert isinstance(passing, Generator)
    passing.close()
    assert closed.is_set()
    assert threading.active_count() == before


class Tensor:
    pass


def test_a_value_that_was_used_is_let_go_while_the_next_is_made() -> None:
    go_on = threading.Event()

    def values() -> Generator[Tensor]:
        yield Tensor()
        go_on.wait(timeout=10)
        yield Tensor()

    passing = ahead(values())
    seen = weakref.ref(next(passing))
    gc.collect()
    assert seen() is None
    go_on.set()
    assert len(list(passing)) == 1
