"""Logs that nobody reads: the service goes on, and what is lost is counted."""

import fcntl
import logging
import os
import select
import signal
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from ellq_server import log_writer
from ellq_server.log_writer import LogWriter
from tests.server.process import Process
from tests.server.test_service import STREAM

SMALLEST_PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that one event of 5000 characters fills."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)
    yield reader, writer
    os.close(writer)


def event(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text})


def test_events_are_written_in_their_order_before_the_end(pipe):
    reader, writer = pipe
    logs = LogWriter(os.dup(writer))
    for number in range(20):
        logs.handle(event(f"event {number}"))
    logs.close()
    assert os.read(reader, SMALLEST_PIPE_BYTES).decode().splitlines() == [f"event {number}" for number in range(20)]
    assert logs.dropped == 0


def test_whoever_logs_does_not_wait_for_whoever_reads(pipe, monkeypatch):
    reader, writer = pipe
    monkeypatch.setattr(log_writer, "MOST_EVENTS", 4)
    logs = LogWriter(os.dup(writer))
    logs.handle(event("0 " + "x" * 5000))
    select.select([reader], [], [])  # half of it is written, and the thread stays with it
    for number in range(1, 20):
        logs.handle(event(f"{number} " + "x" * 5000))
    assert logs.dropped == 15
    taken = ""
    while taken.count("x\n") < 5:
        taken += os.read(reader, SMALLEST_PIPE_BYTES).decode()
    logs.close()
    events = [line.partition(" ")[0] for line in taken.splitlines() if line.endswith("x")]
    assert events == ["0", "1", "2", "3", "4"]
    assert taken.count("events dropped so far: 15\n") == 1


def test_an_end_that_nobody_reads_is_an_end(pipe, monkeypatch):
    _, writer = pipe
    monkeypatch.setattr(log_writer, "LAST_SECONDS", 0.01)
    logs = LogWriter(os.dup(writer))
    logs.handle(event("x" * 5000))
    logs.close()


class Blocked(Thread):
    """A thread that does not end; `waited` is for how long each time."""

    waited: list[float | None]
    takes: Callable[[], None]
    """What happens while somebody waits for it."""

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return True

    def join(self, timeout: float | None = None) -> None:
        self.waited.append(timeout)
        self.takes()


@pytest.fixture
def blocked(monkeypatch) -> type[Blocked]:
    """The thread that writes events, which is blocked; the clock says how long was waited for it."""
    Blocked.waited, Blocked.takes = [], lambda _: None
    monkeypatch.setattr(log_writer, "Thread", Blocked)
    monkeypatch.setattr(log_writer, "monotonic", lambda: 100.0 + sum(Blocked.waited))
    return Blocked


def test_the_end_does_not_wait_for_whoever_takes_nothing(pipe, blocked):
    LogWriter(os.dup(pipe[1])).close()
    assert blocked.waited == [log_writer.IDLE_SECONDS]


def test_the_end_waits_for_whoever_reads_slowly_but_not_for_ever(pipe, blocked, monkeypatch):
    logs = LogWriter(os.dup(pipe[1]))
    monkeypatch.setattr(log_writer, "LAST_SECONDS", 2.5 * log_writer.IDLE_SECONDS)
    blocked.takes = lambda _: setattr(logs, "written", logs.written + 1)
    logs.close()
    assert blocked.waited == [log_writer.IDLE_SECONDS, log_writer.IDLE_SECONDS, log_writer.IDLE_SECONDS / 2]


def test_events_for_a_reader_that_is_gone_are_counted(pipe):
    reader, writer = pipe
    logs = LogWriter(os.dup(writer))
    os.close(reader)
    for _ in range(3):
        logs.handle(event("unread"))
    logs.close()
    assert logs.dropped == 3


def test_a_server_whose_log_nobody_reads_answers_and_loses_no_event_of_its_log():
    with Process() as process:
        fcntl.fcntl(process.process.stderr, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)
        for _ in range(50):
            process.caller.compress(STREAM)
        assert process.metrics()["ellq_log_events_dropped_total{}"] == 0
        process.process.send_signal(signal.SIGTERM)
        events = [log["event"] for log in process.logs_after_end()]
    assert events.count("answered") == 50
    assert process.process.returncode == 0


PATIENT = """
import sys
from ellq_server import log_writer, main
log_writer.LAST_SECONDS = 86400.0
sys.exit(main.serve(sys.argv[1:]))
"""


def test_a_server_whose_log_nobody_reads_ends_without_the_last_of_its_patience():
    with Process(run=("-c", PATIENT), ELLQ_DRAIN_DELAY_SECONDS="0") as process:
        fcntl.fcntl(process.process.stderr, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)
        for _ in range(50):
            process.caller.compress(STREAM)
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(timeout=120) == 0
        assert process.process.stderr.read().count('"answered"') < 50, "the pipe was full"
