"""When looking ahead is worth a thread: handing a small tensor to another one takes longer than working on it."""

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing

from ellq_server.ahead import ahead
from ellq_server.call import Event, Opening
from ellq_server.replies import BATCH_BYTES, room_of
from ellq_server.workbench import Outcome

BUNCH_BYTES = BATCH_BYTES
"""Weights that are handed over together, or that are not worth a thread: as many as wait for a batch of reports anyway."""


def events_ahead(events: Generator[Event]) -> Iterator[Event]:
    """Yield the events of a call, made ahead of their use where there are weights enough.

    Errors: those of the call. What is left of a bunch then is dropped, as is what is left of a batch of reports.
    """
    with closing(events):
        opening = next(events)
        assert isinstance(opening, Opening)
        yield opening
        if opening.header.payload_bytes < BUNCH_BYTES:
            yield from events
            return
        with closing(ahead(_bunched(events))) as bunches:
            for bunch in bunches:
                while bunch:
                    yield bunch.popleft()


def _bunched(events: Iterator[Event]) -> Generator[deque[Event]]:
    """Yield bunches of BUNCH_BYTES or more, the last one of whatever is left. Whoever takes one empties it.

    Room is counted as for a batch of reports: else the smallest tensors would make bunches without end, in memory that nobody
    reserved, and a call that was cancelled would be noticed only behind them.
    """
    bunch, held_bytes = deque[Event](), 0
    for event in events:
        bunch.append(event)
        held_bytes += room_of(event) if isinstance(event, Outcome) else 0
        del event  # or its weights would live as long as the next ones are worked on
        if held_bytes >= BUNCH_BYTES:
            yield bunch
            bunch, held_bytes = deque[Event](), 0
    yield bunch
