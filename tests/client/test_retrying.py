import pytest

from ellq_client import Busy, Client, DeadlineExceeded
from ellq_client.retrying import Deadline, Patience


def patience(**changes):
    now = iter(changes.pop("times", [0.0] * 100))
    settings = {"timeout_seconds": 100.0, "max_attempts": 4, "clock": lambda: next(now), "jitter": lambda: 0.0, **changes}
    return Patience(**settings)


def test_delays_double_up_to_the_longest():
    waits = [
        patience(first_delay_seconds=0.5, longest_delay_seconds=3).delay_seconds(attempt, asked=None) for attempt in range(1, 6)
    ]
    assert waits == [0.5, 1, 2, 3, 3]


def test_jitter_shortens_our_own_delays_and_lengthens_what_the_server_asked():
    assert patience(jitter=lambda: 1.0).delay_seconds(1, asked=None) == 0.25
    assert patience(jitter=lambda: 1.0).delay_seconds(1, asked=8) == 10
    assert patience().delay_seconds(1, asked=8) == 8


def test_a_server_that_asks_for_no_delay_gets_none():
    assert patience().delay_seconds(1, asked=0.0) == 0.0


def test_the_last_attempt_raises_what_happened():
    refusal = Busy("full")
    with pytest.raises(Busy) as caught:
        Deadline(patience(max_attempts=2)).delay_after(refusal, attempt=2)
    assert caught.value is refusal


def test_time_runs_out():
    deadline = Deadline(patience(times=[0.0, 99.0, 100.0]))
    assert deadline.remaining_seconds() == 1
    with pytest.raises(DeadlineExceeded, match="not done within 100 seconds"):
        deadline.remaining_seconds()


@pytest.mark.parametrize("settings", [{"timeout_seconds": 0}, {"timeout_seconds": float("nan")}, {"max_attempts": 0}])
def test_patience_that_cannot_work_is_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Client("localhost:1", **settings)
