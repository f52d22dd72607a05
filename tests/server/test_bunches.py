"""Small tensors stay in the thread that asks for them, or go to it together; what they tell is the same either way."""

import threading
import weakref
from collections import deque
from collections.abc import Generator, Sequence

import pytest

from ellq_server import bunches
from ellq_server.bunches import BUNCH_BYTES, events_ahead
from ellq_server.call import Absence, Closing, Event, Opening
from ellq_server.header import Header, TensorEntry
from ellq_server.planning import plan_tensors
from ellq_server.refusals import TruncatedStream
from ellq_server.replies import REPORT_BYTES
from ellq_server.selections import Selection
from ellq_server.workbench import Outcome

END = Closing(None, Absence.NO_RULE, 0.0)


def opening_of(lengths: Sequence[int]) -> Opening:
    ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
    tensors = tuple(
        TensorEntry(f"tensor{place}", "U8", (length,), end - length, end)
        for place, (length, end) in enumerate(zip(lengths, ends, strict=True))
    )
    return Opening(Header(b"", tensors), plan_tensors(tensors, Selection((), (), ())))


class Call:
    """Events of a call over tensors of these lengths, and which threads made them."""

    def __init__(self, lengths: Sequence[int], *, breaks_off: bool = False) -> None:
        self.opening = opening_of(lengths)
        self.breaks_off = breaks_off
        self.made_by: list[threading.Thread] = []
        self.closed = False

    def events(self) -> Generator[Event]:
        try:
            yield self.opening
            for plan in self.opening.planning.plans:
                self.made_by.append(threading.current_thread())
                yield Outcome(plan, plan.reason)
            if self.breaks_off:
                raise TruncatedStream("the stream ended", field="data")
            yield END
        finally:
            self.closed = True


def positions(events: Sequence[Event]) -> list[int]:
    return [event.plan.position for event in events if isinstance(event, Outcome)]


@pytest.mark.parametrize(
    "lengths",
    [
        [],
        [10],
        [BUNCH_BYTES],
        [10] * 1000 + [BUNCH_BYTES],
        [BUNCH_BYTES, 10, 10],
        [BUNCH_BYTES // 3] * 20,
        [10, 5 * BUNCH_BYTES, 0, 0, 2 * BUNCH_BYTES, 10],
    ],
)
def test_all_events_come_in_order(lengths: list[int]) -> None:
    call = Call(lengths)
    first, *outcomes, last = events_ahead(call.events())
    assert (first, last) == (call.opening, END)
    assert positions(outcomes) == list(range(len(lengths)))
    assert call.closed


def test_a_small_payload_takes_no_thread() -> None:
    call = Call([10] * 50)
    list(events_ahead(call.events()))
    assert set(call.made_by) == {threading.current_thread()}


def test_a_large_payload_is_worked_on_ahead() -> None:
    call = Call([BUNCH_BYTES, 10])
    list(events_ahead(call.events()))
    assert threading.current_thread() not in call.made_by


def test_the_opening_waits_for_no_tensor() -> None:
    call = Call([BUNCH_BYTES, 10])
    events = events_ahead(call.events())
    assert next(events) is call.opening
    assert not call.made_by


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the bunches that are made."""
    found: list[int] = []

    def counted(values: Generator[deque[Event]]) -> Generator[deque[Event]]:
        for bunch in values:
            found.append(len(bunch))
            yield bunch

    monkeypatch.setattr(bunches, "ahead", counted)
    return found


def test_small_tensors_are_handed_over_together(handed_over: list[int]) -> None:
    list(events_ahead(Call([10] * 1000 + [BUNCH_BYTES]).events()))
    assert handed_over == [1001, 1]  # the last is the end


def test_the_smallest_make_no_bunch_without_end(handed_over: list[int]) -> None:
    list(events_ahead(Call([BUNCH_BYTES] + [1] * 10_000).events()))
    assert max(handed_over) <= BUNCH_BYTES // REPORT_BYTES


def test_what_is_ahead_is_one_bunch() -> None:
    call = Call([BUNCH_BYTES // 4] * 64)
    for used, _ in enumerate(events_ahead(call.events())):
        assert len(call.made_by) <= used + 8  # what is left of the bunch in use, and the one that waits


@pytest.mark.parametrize("lengths", [[10, 10], [BUNCH_BYTES, BUNCH_BYTES]])
def test_an_error_ends_the_events(lengths: list[int]) -> None:
    call = Call(lengths, breaks_off=True)
    events = events_ahead(call.events())
    with pytest.raises(TruncatedStream):
        list(events)
    assert call.closed


@pytest.mark.parametrize("lengths", [[10, 10], [BUNCH_BYTES] * 5])
@pytest.mark.parametrize("taken", [1, 2])
def test_leaving_half_way_closes_the_call(lengths: list[int], taken: int) -> None:
    call = Call(lengths)
    events = events_ahead(call.events())
    for _ in range(taken):
        next(events)
    assert isinstance(events, Generator)
    events.close()
    assert call.closed


def test_an_outcome_that_was_used_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the call works on the next: without a thread, to look at that very moment."""
    opening, lives = opening_of([BUNCH_BYTES] * 3), list[bool]()

    def events() -> Generator[Event]:
        yield opening
        for plan in opening.planning.plans:
            made = [Outcome(plan, plan.reason)]
            seen = weakref.ref(made[0])
            yield made.pop()
            lives.append(seen() is not None)
        yield END

    monkeypatch.setattr(bunches, "ahead", lambda values: values)
    deque(events_ahead(events()), maxlen=0)
    assert lives == [False] * 3
