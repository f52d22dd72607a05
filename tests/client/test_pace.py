"""The time that remains: right where the pace is even, soon right where it changes, and blind to what happened once."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellq_client.cli.pace import Pace


def told(work: list[tuple[float, int]], *, total_bytes: int, done_bytes: int = 0) -> list[float | None]:
    """Return what is said after each (moment, bytes done)."""
    moments = iter([moment for moment, _ in work])
    pace = Pace(total_bytes, done_bytes=done_bytes, clock=lambda: next(moments))
    return [pace.remaining_seconds(done) for _, done in work]


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=30), st.integers(0, 10**10), st.floats(0.1, 1e4))
def test_an_even_pace_is_told_exactly_whatever_came_before(steps, before, start):
    done, work = before, []
    for step in steps:
        done += step
        work.append((start + (done - before) * 1e-6, done))
    for (_, at), seconds in zip(work[1:], told(work, total_bytes=done, done_bytes=before)[1:], strict=True):
        assert seconds == pytest.approx((done - at) * 1e-6, rel=1e-6, abs=1e-6)  # of clock readings near 1e4 seconds


def test_nothing_is_told_from_one_report():
    assert told([(50.0, 10)], total_bytes=100) == [None]


def test_a_new_pace_counts_more_than_the_old_one():
    fast = [(0.01 * number, 1000 * number) for number in range(1, 51)]
    slow = [(0.5 + 0.1 * number, 50_000 + 1000 * number) for number in range(1, 41)]
    end = told(fast + slow, total_bytes=100_000)[-1]
    average = slow[-1][0] / 90_000 * 10_000
    assert end is not None
    assert average < 0.9 < end < 1.0, "10 000 bytes at 0.1 s each thousand take a second"


def test_time_that_remains_never_grows_while_the_pace_is_even():
    work = [(0.2 * number, 100 * number) for number in range(1, 20)]
    seconds = [one for one in told(work, total_bytes=1900) if one is not None]
    assert all(before > after for before, after in pairwise(seconds))
    assert seconds[-1] == 0


def test_nothing_is_told_of_a_total_that_is_not_known():
    assert told([(1.0, 10), (2.0, 20), (3.0, 30)], total_bytes=0) == [None, None, None]


def test_reports_of_tensors_without_bytes_tell_nothing():
    assert told([(1.0, 0), (2.0, 0)], total_bytes=0) == [None, None]
