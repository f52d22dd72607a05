"""The SDK and the command line, where the server reads and writes: against a server in this process and moto's S3 server."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from safetensors.numpy import load, load_file, save, save_file
from typer.testing import CliRunner

from ellq_client import AsyncClient, Client, Fraction, InvalidReference, InvalidRequest, OutputError, SourceError
from ellq_client.cli.app import app
from ellq_client.report import report_of, write_report
from ellq_client.verifying import verify

HALF = Fraction(pruned_ratio=0.5)
SOURCE, OUTPUT = "s3://models/open/in.safetensors", "s3://models/open/out.safetensors"


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    """A transformer's block in the layout of GPT-2, whose matrices are stored (in, out)."""
    numbers = np.random.default_rng(0)
    shapes = {"h.0.attn.c_attn.weight": (48, 144), "h.0.attn.c_attn.bias": (144,), "h.0.mlp.c_fc.weight": (192, 48)}
    return {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def s3(weights: dict[str, np.ndarray]) -> Iterator[object]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "an-id")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ALLOW_HTTP", "true")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("ELLQ_SOURCE_PREFIXES", "s3://models/open")
        patch.setenv("ELLQ_OUTPUT_PREFIXES", "s3://models/open")
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="models")
        client.put_object(Bucket="models", Key="open/in.safetensors", Body=save(weights))
        yield client
        client.close()
    server.stop()


@pytest.fixture(scope="module")
def client(s3: object) -> Iterator[Client]:
    """The server in this process, which the environment lets open the bucket."""
    with Client() as opened:
        yield opened


@pytest.fixture(scope="module")
def local(client: Client, weights, tmp_path_factory: pytest.TempPathFactory):
    """The same weights, sent and taken back."""
    path = tmp_path_factory.mktemp("local") / "in.safetensors"
    save_file(weights, path)
    return client.compress(path, path.with_name("out.safetensors"), rule=HALF).result()


def stored(s3, key: str = "open/out.safetensors") -> bytes:
    return s3.get_object(Bucket="models", Key=key)["Body"].read()


def test_from_store_to_store_tells_what_a_file_would(client, s3, local) -> None:
    run = client.compress(SOURCE, OUTPUT, rule=HALF)
    assert tuple(run) == local.tensors
    result = run.result()
    assert stored(s3) == local.output.read_bytes()
    assert (result.output, result.weights) == (None, None)
    assert (result.stored.uri, result.stored.sha256) == (OUTPUT, sha256(stored(s3)).hexdigest())
    assert result.source.header_sha256 == local.source.header_sha256
    assert (result.source.name, result.source.size_bytes) == (SOURCE, local.source.size_bytes)


def test_layouts_that_names_show_are_seen_though_the_server_alone_reads(client, local) -> None:
    """Otherwise the neurons of these matrices would be taken along the wrong axis."""
    result = client.compress(SOURCE, rule=HALF).result()
    assert result["h.0.attn.c_attn.weight"].neuron_axis == (1,)
    assert result.request == local.request
    assert result.notes == local.notes


def test_from_store_to_a_file_and_to_memory(client, local, tmp_path: Path) -> None:
    client.compress(SOURCE, tmp_path / "out.safetensors", rule=HALF).result()
    assert (tmp_path / "out.safetensors").read_bytes() == local.output.read_bytes()
    arrays = client.compress(SOURCE, rule=HALF).result().weights
    expected = load_file(local.output)
    assert arrays.keys() == expected.keys()
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def test_from_arrays_and_from_a_file_to_the_store(client, s3, local, weights, tmp_path: Path) -> None:
    client.compress(weights, "s3://models/open/arrays.safetensors", rule=HALF).result()
    expected = load_file(local.output)
    assert all(np.array_equal(one, expected[name]) for name, one in load(stored(s3, "open/arrays.safetensors")).items())
    client.compress(local.output.with_name("in.safetensors"), "s3://models/open/file.safetensors", rule=HALF).result()
    assert stored(s3, "open/file.safetensors") == local.output.read_bytes()


async def test_the_client_for_asyncio_does_the_same(s3, local) -> None:
    async with AsyncClient() as client:
        await client.compress(SOURCE, "s3://models/open/async.safetensors", rule=HALF).result()
    assert stored(s3, "open/async.safetensors") == local.output.read_bytes()


def test_analyze(client, local) -> None:
    assert client.analyze(SOURCE).result().tensors == client.analyze(local.output.with_name("in.safetensors")).result().tensors


def test_a_threshold_over_all_weights(client, local) -> None:
    rule = Fraction(pruned_ratio=0.5, scope="global")
    expected = client.compress(local.output.with_name("in.safetensors"), rule=rule).result()
    assert client.compress(SOURCE, rule=rule).result().tensors == expected.tensors


def test_the_report_is_held_against_the_objects_once_they_are_files(client, s3, local, tmp_path: Path) -> None:
    result = client.compress(SOURCE, OUTPUT, rule=HALF).result()
    write_report(result, tmp_path / "report.json")
    (tmp_path / "out.safetensors").write_bytes(stored(s3))
    verify(local.output.with_name("in.safetensors"), tmp_path / "out.safetensors", tmp_path / "report.json")
    assert report_of(result).output.name == OUTPUT


def test_what_is_there_is_replaced_unless_that_is_refused(client, s3, local, tmp_path: Path) -> None:
    key = "open/replaced.safetensors"
    s3.put_object(Bucket="models", Key=key, Body=b"old")
    with pytest.raises(InvalidReference, match="exists") as caught:
        client.compress(SOURCE, f"s3://models/{key}", rule=HALF, replace_output=False).result()
    assert caught.value.reason == "OUTPUT_EXISTS"
    assert stored(s3, key) == b"old"
    replaced = client.compress(SOURCE, f"s3://models/{key}", rule=HALF).result()
    assert stored(s3, key) == local.output.read_bytes()
    first = client.compress(SOURCE, "s3://models/open/first.safetensors", rule=HALF, replace_output=False).result()
    assert first.request == replaced.request  # where weights go decides nothing about them


def test_a_file_on_this_side_is_no_exception(client, local, tmp_path: Path) -> None:
    place = tmp_path / "out.safetensors"
    place.write_bytes(b"old")
    for source in (SOURCE, local.output.with_name("in.safetensors")):
        with pytest.raises(OutputError, match="exists, and replace_output is False"):
            client.compress(source, place, rule=HALF, replace_output=False).result()
    assert place.read_bytes() == b"old"
    client.compress(SOURCE, place, rule=HALF).result()
    assert place.read_bytes() == local.output.read_bytes()


def test_what_the_server_refuses_is_typed(client, s3) -> None:
    for source, output, reason in (
        ("s3://models/secret/in.safetensors", None, "URI_NOT_ALLOWED"),
        ("s3://models/open/none.safetensors", None, "OBJECT_NOT_FOUND"),
        ("s3://models/open/", None, "INVALID_URI"),
        ("http://169.254.169.254/latest", None, "INVALID_URI"),
        (SOURCE, "s3://models/secret/out.safetensors", "URI_NOT_ALLOWED"),
        (SOURCE, SOURCE, "INVALID_URI"),
    ):
        with pytest.raises(InvalidReference) as caught:
            client.compress(source, output, rule=HALF).result()
        assert caught.value.reason == reason


def test_a_file_is_not_opened_by_the_server_because_it_runs_here(client, local) -> None:
    with pytest.raises(InvalidReference, match="below no prefix"):
        client.analyze(f"file://{local.output}").result()


def test_a_folder_has_no_place_in_one_object(client, s3, weights, tmp_path: Path) -> None:
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(OutputError, match="shard by shard"):
        client.compress(tmp_path, "s3://models/open/folder.safetensors", rule=HALF).result()


def test_other_formats_are_read_and_written_on_this_side(client, s3) -> None:
    with pytest.raises(SourceError, match=r"in\.pth is named like another format"):
        client.analyze("s3://models/open/in.pth").result()
    with pytest.raises(OutputError, match=r"out\.gguf is named like another format"):
        client.compress(SOURCE, "s3://models/open/out.gguf", rule=HALF).result()


@pytest.mark.parametrize(("place", "form"), [("file:/tmp/x", "file:///"), ("s3:/models/x", "s3://")])
def test_what_is_nearly_a_uri_is_told_how_one_is_written(client, place: str, form: str) -> None:
    for calls in (lambda: client.analyze(place), lambda: client.compress(place), lambda: client.compress(SOURCE, place)):
        with pytest.raises(InvalidRequest, match=f"nor a URI, which begins with {form}$"):
            calls().result()


def test_packed_weights_have_none_either(client) -> None:
    with pytest.raises(OutputError, match="the server writes dense ones"):
        client.compress(SOURCE, OUTPUT, rule=HALF, encoding="packed").result()


def test_an_object_that_changes_between_two_calls_is_noticed(client, s3, weights, monkeypatch) -> None:
    key = "open/changing.safetensors"
    s3.put_object(Bucket="models", Key=key, Body=save(weights))
    run = client.compress(f"s3://models/{key}", rule=HALF)
    opened = run._connection.open

    def open_and_change(method: str, *arguments: object, **options: object) -> object:
        if method == "Compress":
            s3.put_object(Bucket="models", Key=key, Body=save({"other": np.ones((4, 4), np.float32)}))
        return opened(method, *arguments, **options)

    monkeypatch.setattr(run._connection, "open", open_and_change)
    with pytest.raises(SourceError, match="changed between two calls"):
        run.result()


def test_the_command_line_writes_where_it_is_told_and_a_report_here(s3, local, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ["compress", SOURCE, "-o", "s3://models/open/cli.safetensors", "--rule", "fraction", "--ratio", "0.5"]
    done = CliRunner().invoke(app, [*words, "--json", str(report)])
    assert done.exit_code == 0, done.output
    assert "s3://models/open/cli.safetensors by the server" in done.output
    assert stored(s3, "open/cli.safetensors") == local.output.read_bytes()
    verify(local.output.with_name("in.safetensors"), local.output, report)


def test_the_command_line_replaces_an_object_only_with_force(s3, local) -> None:
    s3.put_object(Bucket="models", Key="open/kept.safetensors", Body=b"old")
    words = ["compress", SOURCE, "-o", "s3://models/open/kept.safetensors", "--rule", "fraction", "--ratio", "0.5"]
    run = ["-c", "from ellq_client.cli import main; main()"]
    done = subprocess.run([sys.executable, *run, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--output s3://models/open/kept.safetensors exists; --force replaces it" in done.stderr
    assert stored(s3, "open/kept.safetensors") == b"old"
    assert CliRunner().invoke(app, [*words, "--force"]).exit_code == 0
    assert stored(s3, "open/kept.safetensors") == local.output.read_bytes()


def test_the_command_line_says_refusals_in_its_own_words(s3) -> None:
    words = ["compress", SOURCE, "-o", "s3://models/secret/o", "--rule", "fraction", "--ratio", "0.5"]
    run = ["-c", "from ellq_client.cli import main; main()", *words]
    done = subprocess.run([sys.executable, *run], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--output s3://models/secret/o is below no prefix" in done.stderr


def test_the_command_line_analyses(s3) -> None:
    done = CliRunner().invoke(app, ["analyze", SOURCE])
    assert done.exit_code == 0, done.output
    assert not os.path.lexists("s3:")


def test_the_examples_of_the_page_are_let_in_by_the_settings_of_the_page(s3, weights, tmp_path, monkeypatch, capsys) -> None:
    page = (Path(__file__).parents[2] / "docs" / "references.md").read_text()
    for setting in ("ELLQ_SOURCE_PREFIXES", "ELLQ_OUTPUT_PREFIXES"):
        monkeypatch.setenv(setting, re.search(rf"^\$ .*{setting}=(\S+)", page, re.MULTILINE)[1])
    monkeypatch.chdir(tmp_path)
    s3.put_object(Bucket="models", Key="llama/model.safetensors", Body=save(weights))
    commands = re.findall(r"^\$ ellq ((?:[^\n\\]|\\\n)*)", page, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command.replace("--server ellq:50051", "").replace("\\\n", "")))
        assert done.exit_code == 0, done.output
    assert stored(s3, "compressed/llama/model.safetensors")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code.replace('"ellq:50051"', ""), {})
    assert capsys.readouterr().out.startswith("s3://models/compressed/llama/model.safetensors")


def test_capabilities_tell_the_schemes(client) -> None:
    told = client.capabilities()
    assert (told.source_schemes, told.output_schemes) == (("s3",), ("s3",))
