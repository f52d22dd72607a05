"""Shards spread over streams: what comes out does not tell how many there were, and what fails ends all of them."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.client.folders.models import shard_name, tree, write_index, write_model

from ellq_client import AsyncClient, Busy, Cancelled, Client, InvalidRequest, Tail
from ellq_client.actions import Dialogue, together
from ellq_client.folders.files import PROGRESS
from ellq_server.embedded import EmbeddedServer
from ellq_server.settings import Settings

TAIL = Tail(epsilon=0.3, p=2)
SHARDS = 6


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Return where a real server is."""
    address = f"unix:{tmp_path_factory.mktemp('server') / 's'}"
    settings = {"listen": address, "metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
    server = EmbeddedServer(Settings.model_construct(**settings))
    yield address
    server.stop()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", shards=SHARDS, rows=60)


class Stall:
    """Holds the calls of a fake server, and counts them."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.most = 0
        """Calls that were held at a time."""
        self._held = 0
        self._changed = threading.Condition()

    def hold(self, frames):
        """Let a call wait."""
        with self._changed:
            self._held += 1
            self.most = max(self.most, self._held)
            self._changed.notify_all()
        assert self.go_on.wait(60)
        with self._changed:
            self._held -= 1
        return frames

    def wait(self, calls: int) -> None:
        """Return when so many calls are held."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._held >= calls, 60)

    def then(self, calls: int, do: Callable[[], object]) -> None:
        """Do something in another thread when so many calls are held."""
        threading.Thread(target=lambda: (self.wait(calls), do()), daemon=True).start()


@pytest.fixture
def stalled(fake) -> Iterator[Stall]:
    """Let the fake server answer nothing before its `go_on` is set."""
    stall = Stall()
    fake.damage = stall.hold
    yield stall
    stall.go_on.set()


def names_of_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ellq-stream")]


def tasks_of_teams() -> list[str]:
    """Return the tasks under way, but those of gRPC."""
    names = (task.get_coro().__qualname__ for task in asyncio.all_tasks())
    return [name for name in names if name.startswith("Async")]


@pytest.mark.parametrize("streams", [2, 4, 9])
def test_the_number_of_streams_changes_no_byte(address, model, tmp_path, streams):
    with Client(address, streams=1) as client:
        expected = client.compress(model, tmp_path / "reference", rule=TAIL).result()
    with Client(address, streams=streams) as client:
        run = client.compress(model, tmp_path / "out", rule=TAIL)
        names = [report.name for report in run]
        result = run.result()
    assert tree(tmp_path / "out") == tree(tmp_path / "reference")
    assert (result.tensors, result.summary) == (expected.tensors, expected.summary)
    assert sorted(names) == sorted(tensor.name for tensor in result.tensors)
    assert names_of_threads() == []


def test_the_same_with_asyncio(address, model, tmp_path):
    async def compress():
        async with AsyncClient(address, streams=3) as client, client.compress(model, tmp_path / "awaited", rule=TAIL) as run:
            return [report.name async for report in run], await run.result()

    names, result = asyncio.run(compress())
    with Client(address, streams=1) as client:
        assert client.compress(model, tmp_path / "out", rule=TAIL).result().tensors == result.tensors
    assert tree(tmp_path / "awaited") == tree(tmp_path / "out")
    assert sorted(names) == sorted(tensor.name for tensor in result.tensors)


def test_no_more_than_so_many_are_under_way(fake, stalled, model, tmp_path):
    with Client(fake.address, streams=2) as client, client.compress(model, tmp_path / "out", rule=TAIL) as run:
        stalled.then(2, stalled.go_on.set)
        assert run.result().summary.tensors == 2 * SHARDS + 1
    assert (stalled.most, len(fake.uploads)) == (2, SHARDS)


def test_the_largest_begin_first_and_the_results_keep_their_order():
    begun = []

    def talk(number):
        begun.append(number)
        yield from ()
        return number

    dialogue = Dialogue(together([talk(number) for number in range(3)], width=2, sizes=[1, 3, 2]))
    asked = dialogue.step(None)
    results = tuple(next(iter(_ended(conversation))) for conversation in asked.conversations)
    assert (begun, asked.width) == ([1, 2, 0], 2)
    assert dialogue.step(results) is None
    assert dialogue.result() == [0, 1, 2]


def _ended(conversation):
    with pytest.raises(StopIteration) as end:
        next(conversation)
    yield end.value.value


def test_a_refused_shard_ends_the_others_and_what_is_finished_stays(fake, refusal, model, tmp_path):
    out = tmp_path / "out"
    with Client(fake.address, streams=2) as client:
        fake.refusals = [None, None, refusal(grpc.StatusCode.INVALID_ARGUMENT, "never")]
        with pytest.raises(InvalidRequest, match="never") as caught:
            client.compress(model, out, rule=TAIL).result()
        assert names_of_threads() == []
        finished = len((out / PROGRESS / "journal.jsonl").read_bytes().splitlines())
        assert caught.value.__notes__ == [
            f"{finished} of {SHARDS} parts of {model} are finished in {out}; the same command goes on from there"
        ]
        assert 1 <= finished < SHARDS
        before = len(fake.uploads)
        client.compress(model, out, rule=TAIL).result()
    assert len(fake.uploads) == before + SHARDS - finished


def test_a_refused_shard_leaves_nothing_where_nothing_was_finished(fake, refusal, model, tmp_path):
    fake.refusals = [refusal(grpc.StatusCode.INVALID_ARGUMENT, "never") for _ in range(SHARDS)]
    with Client(fake.address, streams=3) as client, pytest.raises(InvalidRequest, match="never"):
        client.compress(model, tmp_path / "out", rule=TAIL).result()
    assert not (tmp_path / "out").exists()


def test_asyncio_ends_the_others_too(fake, refusal, model, tmp_path):
    fake.refusals = [refusal(grpc.StatusCode.INVALID_ARGUMENT, "never") for _ in range(SHARDS)]

    async def compress():
        async with AsyncClient(fake.address, streams=3) as client:
            with pytest.raises(InvalidRequest, match="never"):
                await client.compress(model, tmp_path / "out", rule=TAIL).result()
        return tasks_of_teams()

    assert asyncio.run(compress()) == []
    assert not (tmp_path / "out").exists()


def test_a_busy_server_is_outlasted_by_several_streams_alone(fake, refusal, model, tmp_path):
    """The calls that keep it busy may be our own."""
    busy = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "BUSY", retry_after_seconds=0.01) for _ in range(12)]
    fake.refusals = list(busy)
    with Client(fake.address, streams=2, max_attempts=2) as client:
        client.compress(model, tmp_path / "out", rule=TAIL).result()
    assert len(fake.uploads) == SHARDS + 12
    fake.refusals = list(busy)
    with Client(fake.address, streams=1, max_attempts=2) as client, pytest.raises(Busy):
        client.compress(model, tmp_path / "other", rule=TAIL).result()
    fake.refusals = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "BUSY", retry_after_seconds=60) for _ in range(SHARDS)]
    with Client(fake.address, streams=2, timeout_seconds=2) as client, pytest.raises(Busy, match="full") as caught:
        client.compress(model, tmp_path / "third", rule=TAIL).result()
    assert "the deadline comes first" in caught.value.__notes__[0]


def test_an_interruption_ends_all_streams(fake, stalled, model, tmp_path):
    with Client(fake.address, streams=3) as client:
        run = client.compress(model, tmp_path / "out", rule=TAIL)
        stalled.then(3, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            run.result()
        assert names_of_threads() == []
        assert not (tmp_path / "out").exists()
        stalled.go_on.set()
        assert client.compress(model, tmp_path / "out", rule=TAIL).result().summary.tensors == 2 * SHARDS + 1


@pytest.mark.parametrize("who", ["run", "client"])
def test_closing_from_another_thread_ends_all_streams(fake, stalled, model, tmp_path, who):
    with Client(fake.address, streams=3) as client:
        run = client.compress(model, tmp_path / "out", rule=TAIL)
        stalled.then(3, {"run": run, "client": client}[who].close)
        with pytest.raises(Cancelled):
            run.result()
    assert names_of_threads() == []


def test_asyncio_closes_from_another_task(fake, stalled, model, tmp_path):
    async def compress():
        async with AsyncClient(fake.address, streams=3) as client:
            run = client.compress(model, tmp_path / "out", rule=TAIL)
            waiting = asyncio.ensure_future(run.result())
            await asyncio.to_thread(stalled.wait, 3)
            await client.close()
            with pytest.raises(Cancelled):
                await waiting
        return tasks_of_teams()

    assert asyncio.run(compress()) == []
    assert not (tmp_path / "out").exists()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.001)


def open_files(root: Path) -> list[str]:
    """Return the files in a folder that this process holds open."""
    found = (os.path.realpath(handle) for handle in Path("/proc/self/fd").iterdir())
    return [name for name in found if Path(name).is_relative_to(root)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell which files are open")
def test_asyncio_closes_the_streams_that_wait_for_their_reports_to_be_taken(tmp_path):
    settings = {"listen": f"unix:{tmp_path / 's'}", "metrics_port": 0, "drain_seconds": 0.0, "drain_delay_seconds": 0.0}
    server = EmbeddedServer(Settings.model_construct(**settings, concurrent_calls=2))
    model, out = tmp_path / "model", tmp_path / "out"
    model.mkdir()
    for number in (1, 2):
        tensors = {f"w{number}.{place}": np.ones((512, 1024), np.float32) for place in range(9)}
        save_file(tensors, model / shard_name(number, 2))
    write_index(model, {f"w{number}.{place}": shard_name(number, 2) for number in (1, 2) for place in range(9)}, {})

    async def compress():
        async with AsyncClient(settings["listen"], streams=2) as client:
            run = client.compress(model, out, rule=TAIL)
            await anext(run)
            await until(lambda: len(run._team._reports._putters) == 2)
            calls = [member._call for member in run._team._runs]
            assert not any(call.done() for call in calls)
            assert open_files(out)
            await run.close()
            assert all(call.done() for call in calls)
            assert (open_files(out), out.exists(), tasks_of_teams()) == ([], False, [])
            await asyncio.to_thread(analyze_twice)

    def analyze_twice():
        """Find room again for as many calls as the server takes."""
        with (
            Client(settings["listen"], timeout_seconds=30) as other,
            other.analyze({"w": np.ones((2, 2))}) as one,
            other.analyze({"w": np.ones((2, 2))}) as two,
        ):
            assert [next(one).name, next(two).name] == ["w", "w"]

    try:
        asyncio.run(compress())
    finally:
        server.stop()


def test_asyncio_tries_again_where_grpc_lost_why_a_call_ended(fake, refusal, model, tmp_path, no_waiting):
    """https://github.com/grpc/grpc/issues/36066: a server that is busy ends calls while they are sent."""
    fake.refusals = [refusal(grpc.StatusCode.INTERNAL, "Internal error from Core")]

    async def compress():
        async with AsyncClient(fake.address, streams=2) as client:
            return await client.compress(model, tmp_path / "out", rule=TAIL).result()

    assert asyncio.run(compress()).summary.tensors == 2 * SHARDS + 1
    assert len(fake.uploads) == SHARDS + 1


def test_asyncio_is_cancelled_with_all_streams(fake, stalled, model, tmp_path):
    async def compress():
        async with AsyncClient(fake.address, streams=3) as client:
            waiting = asyncio.ensure_future(client.compress(model, tmp_path / "out", rule=TAIL).result())
            await asyncio.to_thread(stalled.wait, 3)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        return tasks_of_teams()

    assert asyncio.run(compress()) == []
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_left_early_keeps_what_is_finished(fake, model, tmp_path):
    out = tmp_path / "out"
    with Client(fake.address, streams=2) as client:
        with client.compress(model, out, rule=TAIL) as run:
            for _ in range(7):
                next(run)
        assert names_of_threads() == []
        before, finished = len(fake.uploads), len((out / PROGRESS / "journal.jsonl").read_bytes().splitlines())
        assert finished >= 2
    with Client(fake.address, streams=1) as client:  # another number is the same request
        client.compress(model, out, rule=TAIL).result()
    assert len(fake.uploads) == before + SHARDS - finished
    assert (out / shard_name(1, SHARDS)).read_bytes() == (model / shard_name(1, SHARDS)).read_bytes()


@pytest.mark.parametrize("streams", [0, -1])
def test_streams_are_at_least_one(streams):
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=f"streams must be at least 1, got {streams}"):
            kind("127.0.0.1:1", streams=streams)
