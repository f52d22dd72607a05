"""Whole calls over a real socket, by either client."""

import asyncio
import gc
import json
import threading
import weakref

import grpc
import numpy as np
import pytest
from safetensors.numpy import load_file

from ellq.v1 import compression_pb2 as pb
from ellq_client import (
    AsyncClient,
    Busy,
    Cancelled,
    Client,
    DeadlineExceeded,
    Fraction,
    InvalidRule,
    Override,
    ProtocolError,
    SourceError,
    Tail,
    TensorReport,
    Unavailable,
)
from ellq_client.refusals import read_refusal

RULE = Fraction(pruned_ratio=0.5)


class Blocking:
    """Client, with the face of AsyncClient, so that every test below runs with both."""

    def __init__(self, *arguments, **options):
        self.client = Client(*arguments, **options)

    async def analyze(self, source, **options):
        with self.client as client, client.analyze(source, **options) as run:
            return list(run), run.result()

    async def compress(self, source, output=None, **options):
        with self.client as client, client.compress(source, output, **options) as run:
            return list(run), run.result()

    async def capabilities(self):
        with self.client as client:
            return client.capabilities()


class Awaited:
    def __init__(self, *arguments, **options):
        self.client = AsyncClient(*arguments, **options)

    async def analyze(self, source, **options):
        async with self.client as client, client.analyze(source, **options) as run:
            return [report async for report in run], await run.result()

    async def compress(self, source, output=None, **options):
        async with self.client as client, client.compress(source, output, **options) as run:
            return [report async for report in run], await run.result()

    async def capabilities(self):
        async with self.client as client:
            return await client.capabilities()


@pytest.fixture(params=[Blocking, Awaited])
def client(request, fake):
    return request.param(fake.address, timeout_seconds=20)


async def test_an_analysis_tells_every_tensor_once_in_offset_order(client, fake, checkpoint):
    reports, analysis = await client.analyze(checkpoint)
    assert tuple(reports) == analysis.tensors
    assert [report.name for report in reports] == ["steps", "layer.bias", "layer.weight"]
    assert fake.uploads == [checkpoint.read_bytes()]
    assert analysis["layer.weight"].measurement.layer.pq_index == 0.25
    assert analysis["layer.bias"].reason == "dimensions"
    assert analysis["layer.bias"].measurement is None
    assert analysis.warnings[0].code == "glob_without_match"
    assert analysis.summary.global_.sparsity_index == 1.25
    assert analysis.summary.kept is None


async def test_options_arrive_as_they_were_given(client, fake, checkpoint):
    await client.analyze(
        checkpoint,
        rule=Tail(epsilon=0.1, p=2, scope="layer"),
        q=0.25,
        pq=(0.5, 2),
        include=["*embed*"],
        exclude=["head*"],
        overrides=[Override("a", skip=True), Override("b", rule=RULE), Override("c", neuron_axis=(1,))],
        nonfinite="pass_through",
        ignore_zeros=True,
        neurons=True,
        distribution=True,
    )
    fraction = pb.Rule(scope=pb.SCOPE_NEURON, fraction=pb.FractionRule(pruned_ratio=0.5))
    assert fake.requests == [
        pb.AnalyzeOptions(
            selection=pb.Selection(
                include=["*embed*"],
                exclude=["head*"],
                overrides=[
                    pb.TensorOverride(glob="a", skip=True),
                    pb.TensorOverride(glob="b", rule=fraction),
                    pb.TensorOverride(glob="c", neuron_axis=[1]),
                ],
            ),
            indices=pb.IndexOptions(q=0.25, pq_p=0.5, pq_q=2),
            rule=pb.Rule(scope=pb.SCOPE_LAYER, tail=pb.TailRule(epsilon=0.1, p=2)),
            nonfinite=pb.NONFINITE_POLICY_PASS_THROUGH,
            ignore_zeros=True,
            neuron_reports=True,
            distribution=True,
        )
    ]


async def test_a_file_comes_back_whole_and_alone(client, checkpoint, tmp_path):
    output = tmp_path / "out" / "small.safetensors"
    output.parent.mkdir()
    checkpoint.chmod(0o666)
    reports, compression = await client.compress(checkpoint, output, rule=RULE, neurons=True)
    assert output.read_bytes() == checkpoint.read_bytes()
    assert [path.name for path in output.parent.iterdir()] == ["small.safetensors"]
    (tmp_path / "ordinary").touch()
    assert output.stat().st_mode == (tmp_path / "ordinary").stat().st_mode, "readable by whom the umask says"
    assert compression.output == output
    assert compression.weights is None
    assert compression["layer.weight"].neurons.kept == (4,) * 5
    assert compression["layer.weight"].allocation.kept_within is None
    assert compression["layer.weight"].bound.tail_l1_max == float("inf")
    assert compression.rule == RULE
    assert tuple(reports) == compression.tensors


async def test_arrays_come_back_as_they_went(client, weights):
    _, compression = await client.compress(weights, rule=RULE)
    assert list(compression.weights) == ["steps", "layer.bias", "layer.weight"]
    for name, array in weights.items():
        assert compression.weights[name].dtype == array.dtype
        np.testing.assert_array_equal(compression.weights[name], array)
        compression.weights[name][...] = 0  # writable, and its own memory
    assert weights["layer.weight"].any()


async def test_a_file_without_output_comes_back_as_numpy_arrays(client, checkpoint):
    _, compression = await client.compress(str(checkpoint), rule=RULE)
    for name, array in load_file(checkpoint).items():
        np.testing.assert_array_equal(compression.weights[name], array)


async def test_nothing_at_all_is_a_checkpoint_too(client):
    reports, compression = await client.compress({}, rule=RULE)
    assert reports == []
    assert compression.weights == {}


async def test_a_tensor_of_many_frames_arrives_whole(client, fake):
    weights = {"weight": np.arange(700_000, dtype=np.float64).reshape(1000, 700)}
    fake.damage = _in_small_frames
    _, compression = await client.compress(weights, rule=RULE)
    np.testing.assert_array_equal(compression.weights["weight"], weights["weight"])


def _in_small_frames(frames):
    for frame in frames:
        step = 1 << 20
        if frame.WhichOneof("frame") == "data":
            yield from (pb.CompressResponse(data=frame.data[start : start + step]) for start in range(0, len(frame.data), step))
        else:
            yield frame


async def test_a_busy_server_is_tried_again_when_it_says(client, fake, refusal, checkpoint, no_waiting):
    fake.refusals = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "BUSY", retry_after_seconds=3)]
    await client.analyze(checkpoint)
    assert len(fake.requests) == 2
    assert 3 <= no_waiting[0] <= 3 * 1.25


async def test_a_call_that_breaks_half_way_is_repeated_and_no_report_comes_twice(
    client, fake, refusal, checkpoint, tmp_path, no_waiting
):
    fake.refusals = [refusal(grpc.StatusCode.UNAVAILABLE, "gone", "DRAINING", after_frames=after) for after in (7, 0, 3)]
    output = tmp_path / "small.safetensors"
    reports, compression = await client.compress(checkpoint, output, rule=RULE)
    assert [report.tensor for report in reports] == [0, 1, 2]
    assert tuple(reports) == compression.tensors
    assert output.read_bytes() == checkpoint.read_bytes()
    assert len(no_waiting) == 3


async def test_attempts_are_counted(client, fake, refusal, checkpoint, no_waiting):
    fake.refusals = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "BUSY")] * 9
    with pytest.raises(Busy, match="full") as caught:
        await client.analyze(checkpoint)
    assert len(fake.requests) == 4
    assert isinstance(caught.value.__cause__, grpc.RpcError)


async def test_a_wait_beyond_the_deadline_is_not_begun(client, fake, refusal, checkpoint, no_waiting):
    fake.refusals = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "BUSY", retry_after_seconds=60)]
    with pytest.raises(Busy) as caught:
        await client.analyze(checkpoint)
    assert "deadline" in caught.value.__notes__[0]
    assert no_waiting == []


async def test_a_repeated_call_that_tells_something_else_is_found_out(client, fake, refusal, checkpoint, tmp_path, no_waiting):
    fake.refusals = [refusal(grpc.StatusCode.UNAVAILABLE, "gone", "DRAINING", after_frames=7)]

    def differ(frames):
        if len(fake.requests) == 2:
            frames[5].reports.reports[0].reason = pb.PASS_THROUGH_REASON_EXCLUDED
        return frames

    fake.damage = differ
    with pytest.raises(ProtocolError, match="tells something else of 'steps'"):
        await client.compress(checkpoint, tmp_path / "small.safetensors", rule=RULE)


async def test_a_refused_request_is_not_repeated(client, fake, refusal, checkpoint, tmp_path):
    fake.refusals = [refusal(grpc.StatusCode.INVALID_ARGUMENT, "q is 7", "INVALID_Q", "rule.sparsity_index.q")]
    output = tmp_path / "small.safetensors"
    output.write_text("older")
    with pytest.raises(InvalidRule, match=r"rule\.sparsity_index\.q: q is 7") as caught:
        await client.compress(checkpoint, output, rule=RULE)
    assert caught.value.reason == "INVALID_Q"
    assert caught.value.field == "rule.sparsity_index.q"
    assert len(fake.requests) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "small.safetensors"]
    assert output.read_text() == "older"


async def test_global_scope_beyond_one_pass_takes_as_many_as_it_needs(client, fake, checkpoint, tmp_path):
    fake.sketch_passes = 3
    reports, _ = await client.compress(
        checkpoint, tmp_path / "small.safetensors", rule=Fraction(pruned_ratio=0.5, scope="global")
    )
    assert len(reports) == 3
    refused, *passes, compress = fake.requests
    assert not refused.HasField("sketch")
    assert [options.sketch.previous.level for options in passes] == [0, 1, 2]
    assert compress.sketch.final


async def test_a_sketch_that_never_ends_is_a_broken_server(client, fake, checkpoint):
    fake.sketch_passes = 1000
    with pytest.raises(ProtocolError, match="not final after 16 passes"):
        await client.compress(checkpoint, rule=Fraction(pruned_ratio=0.5, scope="global"))


async def test_capabilities_are_told_and_retried(client, fake, refusal, no_waiting):
    fake.refusals = [refusal(grpc.StatusCode.UNAVAILABLE, "gone", "DRAINING")]
    capabilities = await client.capabilities()
    assert capabilities.scopes == ("neuron", "layer")
    assert capabilities.limits.payload_bytes == 10000
    assert capabilities.device.kernels == "none"
    assert len(no_waiting) == 1


def test_a_failed_attempt_is_gone_without_the_collector(monkeypatch, no_waiting):
    """Else its call is dropped at the interpreter's end, and that can wait for ever for a lock."""
    calls = []

    def seen(error, server):
        calls.append(weakref.ref(error))
        return read_refusal(error, server)

    monkeypatch.setattr("ellq_client.client.read_refusal", seen)
    gc.disable()
    try:
        with Client("127.0.0.1:1", max_attempts=3) as client, pytest.raises(Unavailable):
            client.capabilities()
        assert [call() is None for call in calls[:2]] == [True, True]
    finally:
        gc.enable()


async def test_a_source_that_fails_on_the_way_is_the_error(client, fake, checkpoint, monkeypatch):
    def torn(self):
        yield self.header.text[:50]
        raise SourceError("disk gone")

    monkeypatch.setattr("ellq_client.sources.FileSource.frames", torn)
    monkeypatch.setattr(fake, "_answer", _truncated)
    with pytest.raises(SourceError, match="disk gone"):
        await client.analyze(checkpoint)


def _truncated(request_iterator, context, kind):
    list(request_iterator)
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "ends early")
    yield


@pytest.mark.parametrize("kind", [Blocking, Awaited])
async def test_nobody_there(kind, checkpoint, no_waiting, tmp_path):
    client = kind(f"unix:{tmp_path}/nobody.sock", timeout_seconds=20, max_attempts=2)
    with pytest.raises(Unavailable):
        await client.analyze(checkpoint)
    assert len(no_waiting) == 1


@pytest.mark.parametrize("kind", [Blocking, Awaited])
async def test_the_deadline_holds(kind, fake, checkpoint, monkeypatch, tmp_path):
    client = kind(fake.address, timeout_seconds=0.3)

    def hang(request_iterator, context, kind):
        over = threading.Event()
        context.add_callback(over.set)
        header = 8 + int.from_bytes(checkpoint.read_bytes()[:8], "little")
        yield kind(manifest=pb.Manifest(tensors=3, header_bytes=header, payload_bytes=checkpoint.stat().st_size - header))
        over.wait(10)

    monkeypatch.setattr(fake, "_answer", hang)
    with pytest.raises(DeadlineExceeded):
        await client.compress(checkpoint, tmp_path / "small.safetensors", rule=RULE)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_closing_a_run_removes_what_was_begun(fake, checkpoint, tmp_path):
    with Client(fake.address) as client:
        run = client.compress(checkpoint, tmp_path / "small.safetensors", rule=RULE)
        assert isinstance(next(run), TensorReport)
        assert len(list(tmp_path.iterdir())) == 2
        run.close()
        assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
        with pytest.raises(Cancelled):
            run.result()


async def test_cancelling_a_task_removes_what_was_begun(fake, checkpoint, tmp_path, monkeypatch):
    begun = asyncio.Event()

    async def job() -> None:
        async with AsyncClient(fake.address) as client:
            run = client.compress(checkpoint, tmp_path / "small.safetensors", rule=RULE)
            async for _ in run:
                begun.set()
                await asyncio.sleep(60)

    task = asyncio.create_task(job())
    await asyncio.wait_for(begun.wait(), 20)
    assert len(list(tmp_path.iterdir())) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


async def test_runs_of_one_client_go_side_by_side(fake, checkpoint):
    async with AsyncClient(fake.address) as client:
        first, second = await asyncio.gather(client.analyze(checkpoint).result(), client.analyze(checkpoint).result())
    assert first == second


def test_a_header_is_what_the_safetensors_library_would_write(checkpoint, weights, fake):
    with Client(fake.address) as client:
        client.analyze(weights).result()
    written = fake.uploads[0]
    length = int.from_bytes(written[:8], "little")
    assert json.loads(written[8 : 8 + length]).keys() == weights.keys()
    assert written[8 + length :] == checkpoint.read_bytes()[-len(written[8 + length :]) :]
