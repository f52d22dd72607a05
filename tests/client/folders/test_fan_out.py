"""Shards spread over streams: what comes out does not tell how many there were, and what fails ends all of them."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.client.folders.models import shard_name, tree, write_model

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


@pytest.fixture
def stalled(fake) -> Iterator[threading.Event]:
    """Let the fake server answer nothing before this is set."""
    go_on = threading.Event()

    def wait(frames):
        assert go_on.wait(60)
        return frames

    fake.damage = wait
    yield go_on
    go_on.set()


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
        taken = threading.Timer(1.0, stalled.set)
        taken.start()
        next(run)
        begun = len(fake.uploads)
        assert run.result().summary.tensors == 2 * SHARDS + 1
    assert 2 <= begun <= 4, "two, and one more for each that ended while the first report was taken"
    assert len(fake.uploads) == SHARDS


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
        interruption = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        interruption.start()
        with pytest.raises(KeyboardInterrupt):
            run.result()
        assert names_of_threads() == []
        assert not (tmp_path / "out").exists()
        stalled.set()
        assert client.compress(model, tmp_path / "out", rule=TAIL).result().summary.tensors == 2 * SHARDS + 1


@pytest.mark.parametrize("who", ["run", "client"])
def test_closing_from_another_thread_ends_all_streams(fake, stalled, model, tmp_path, who):
    with Client(fake.address, streams=3) as client:
        run = client.compress(model, tmp_path / "out", rule=TAIL)
        threading.Timer(0.5, {"run": run, "client": client}[who].close).start()
        with pytest.raises(Cancelled):
            run.result()
    assert names_of_threads() == []


def test_asyncio_closes_from_another_task(fake, stalled, model, tmp_path):
    async def compress():
        async with AsyncClient(fake.address, streams=3) as client:
            run = client.compress(model, tmp_path / "out", rule=TAIL)
            waiting = asyncio.ensure_future(run.result())
            await asyncio.sleep(0.5)
            await client.close()
            with pytest.raises(Cancelled):
                await waiting
        return tasks_of_teams()

    assert asyncio.run(compress()) == []
    assert not (tmp_path / "out").exists()


def test_asyncio_is_cancelled_with_all_streams(fake, stalled, model, tmp_path):
    async def compress():
        async with AsyncClient(fake.address, streams=3) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.compress(model, tmp_path / "out", rule=TAIL).result()
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
