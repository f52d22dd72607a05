"""The server in this process: real calls, nothing left behind."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ellq_client import (
    AsyncClient,
    Client,
    InvalidRule,
    MalformedWeights,
    NonfiniteWeight,
    ServerExtraMissing,
    ServerUnusable,
    SparsityIndex,
    Tail,
)
from ellq_client.embedded import compiles_first, serve
from ellq_client.sources import open_source
from ellq_kernels import MAKERS


@pytest.fixture(scope="module")
def client():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ELLQ_SERVER", raising=False)
        with Client() as client:
            yield client


@pytest.fixture
def heavy():
    random = np.random.default_rng(2)
    return {"w.weight": random.standard_cauchy((40, 30)), "w.bias": np.ones(40), "embed.weight": random.normal(size=(4, 4))}


def test_a_checkpoint_end_to_end(client, tmp_path, checkpoint):
    output = tmp_path / "small.safetensors"
    compression = client.compress(checkpoint, output, rule=Tail(epsilon=0.2, p=2)).result()
    before, after = load_file(checkpoint), load_file(output)
    cut = (after["layer.weight"] == 0) & (before["layer.weight"] != 0)
    assert cut.sum() == compression["layer.weight"].allocation.zeros > 0
    np.testing.assert_array_equal(after["layer.weight"][~cut], before["layer.weight"][~cut])
    for old, new in zip(before["layer.weight"], after["layer.weight"], strict=True):
        assert np.linalg.norm(old - new) <= 0.2 * np.linalg.norm(old)


def test_arrays_end_to_end(client, heavy):
    weights = {**heavy, "t.weight": torch.randn(8, 8, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)}
    first, second = (client.compress(weights, rule=SparsityIndex(q=0.5), include=["embed*"]).result() for _ in range(2))
    assert first.tensors == second.tensors
    assert isinstance(first.weights["t.weight"], torch.Tensor)
    assert first["embed.weight"].treatment == "compress"
    np.testing.assert_array_equal(first.weights["w.weight"], second.weights["w.weight"])


def test_refusals_of_the_real_server(client, heavy):
    with pytest.raises(InvalidRule, match="q"):
        client.analyze(heavy, rule=SparsityIndex(q=0.01)).result()
    heavy["w.weight"][3, 4] = np.nan
    with pytest.raises(NonfiniteWeight, match=r"'w\.weight'.*\[3, 4\]"):
        client.analyze(heavy).result()
    passed = client.analyze(heavy, nonfinite="pass_through").result()
    assert passed["w.weight"].reason == "nonfinite"
    assert {warning.code for warning in passed.warnings} >= {"nonfinite_passed_through"}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: whole[:-7], "TRUNCATED_STREAM"),
        (lambda whole: whole[:50], "TRUNCATED_STREAM"),
        (lambda whole: b"", "TRUNCATED_STREAM"),
        (lambda whole: whole + b"more", "TRAILING_BYTES"),
        (lambda whole: whole.replace(b"F32", b"F77"), "MALFORMED_WEIGHTS"),
    ],
)
def test_the_real_server_checks_what_the_client_would_not_send(client, checkpoint, monkeypatch, damage, reason):
    whole, header = checkpoint.read_bytes(), open_source(checkpoint).header
    monkeypatch.setattr("ellq_client.sources.FileSource._checked_header", lambda source: header)
    monkeypatch.setattr("ellq_client.answers.Answer.take", lambda answer, frame: [])
    checkpoint.write_bytes(damage(whole))
    with pytest.raises(MalformedWeights) as caught:
        client.analyze(checkpoint).result()
    assert caught.value.reason == reason


def test_the_real_server_checks_arrays_too(client):
    with pytest.raises(MalformedWeights, match="4096"):
        client.analyze({"w" * 5000: np.ones((2, 2))}).result()


async def test_the_asynchronous_client_has_one_too(heavy, monkeypatch):
    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    async with AsyncClient() as client:
        assert (await client.analyze(heavy).result())["w.weight"].measurement.weights == 1200


def test_nothing_is_left_behind(heavy, monkeypatch, tmp_path):
    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Client() as client:
        assert list(tmp_path.iterdir()) == [], "nothing is started before the first call"
        client.analyze(heavy).result()
        (directory,) = tmp_path.iterdir()
        assert directory.stat().st_mode & 0o077 == 0, "for this user alone"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="closed"):
        client.analyze(heavy).result()


@pytest.mark.parametrize("missing", ["ellq_server", "ellq_server.embedded"])
def test_without_the_server_extra_the_error_says_what_to_install(heavy, monkeypatch, missing):
    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "ellq_server":
        monkeypatch.delitem(sys.modules, "ellq_server.embedded", raising=False)
    with Client() as client, pytest.raises(ServerExtraMissing, match=r"pip install 'ellq\[server\]'"):
        client.analyze(heavy).result()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ModuleNotFoundError("No module named 'numba'", name="numba"),
            "cpu kernels need a package that is not installed (No module named 'numba'): pip install 'ellq[server]'; or name",
        ),
        (
            ModuleNotFoundError("No module named 'numba.core.caching'", name="numba.core.caching"),
            "cpu kernels cannot be loaded: No module named 'numba.core.caching'; or name another one",
        ),
        (
            ImportError("libLLVM.so: no such file"),
            "cpu kernels cannot be loaded: libLLVM.so: no such file; or name another one",
        ),
    ],
)
def test_kernels_that_cannot_run_here_are_told_like_all_that_goes_wrong(
    heavy, checkpoint, command_line, monkeypatch, error, told
):
    def fail(threads):
        raise error

    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    monkeypatch.setitem(MAKERS, "cpu", fail)
    with Client() as client, pytest.raises(ServerUnusable, match=re.escape(told)) as caught:
        client.analyze(heavy).result()
    assert type(caught.value) is ServerUnusable
    code, _, err = command_line("analyze", checkpoint)
    assert (code, err.startswith("ellq: the server to run in this process cannot start: "), told in err) == (2, True, True)


def test_other_reasons_why_no_server_starts_here(heavy, monkeypatch, tmp_path):
    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    with monkeypatch.context() as patch, Client() as client:
        patch.setenv("ELLQ_SOURCE_PREFIXES", "ftp://models")
        with pytest.raises(ServerUnusable, match="ELLQ_SOURCE_PREFIXES"):
            client.analyze(heavy).result()
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with Client() as client, pytest.raises(ServerUnusable, match="cannot listen on unix:"):
        client.analyze(heavy).result()
    assert list(deep.iterdir()) == []


def test_a_server_that_does_not_load_is_not_called_missing(heavy, monkeypatch):
    def fail(module):
        raise ImportError("libstdc++.so.6: version `GLIBCXX_3.4.29' not found")

    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    monkeypatch.setattr("ellq_client.embedded.import_module", fail)
    with Client() as client, pytest.raises(ServerUnusable, match=r"GLIBCXX.*name another one") as caught:
        client.analyze(heavy).result()
    assert type(caught.value) is ServerUnusable
    with pytest.raises(ServerUnusable, match=r"`ellq serve` needs the server.*not found\)$"):
        serve([])


def test_the_environment_is_obeyed(fake, monkeypatch):
    monkeypatch.setenv("ELLQ_SERVER", fake.address)
    with Client() as client:
        assert client.capabilities().version == "fake"


ENDINGS = {
    "a caller that fails": "with Client() as client:\n  for report in compress(client): raise SystemExit(7)",
    "a run that is left half way": "client = Client(); run = compress(client); next(run); raise SystemExit(7)",
    "an interruption": "import os, signal\n"
    "try:\n"
    "  with Client() as client:\n"
    "    for report in compress(client): os.kill(os.getpid(), signal.SIGINT)\n"
    "except KeyboardInterrupt: raise SystemExit(7)",
    "a deadline": "with Client(timeout_seconds=0.05) as client:\n"
    "  try: compress(client).result()\n"
    "  except DeadlineExceeded: raise SystemExit(7)",
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("attempt", range(5))
def test_whatever_ends_a_call_nothing_is_said_about_it(tmp_path, ending, attempt):
    random = np.random.default_rng(3)
    path = tmp_path / "model.safetensors"
    save_file({f"{layer}.weight": random.normal(size=(1024, 2048)).astype(np.float32) for layer in range(6)}, path)
    output = tmp_path / "out.safetensors"
    code = (
        "from ellq_client import Client, DeadlineExceeded, Tail\n"
        f"compress = lambda client: client.compress({str(path)!r}, {str(output)!r}, rule=Tail(epsilon=0.1, p=2))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ELLQ_SERVER"}
    ended = subprocess.run(
        [sys.executable, "-c", code + ENDINGS[ending]], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (7, "")
    assert [left.name for left in tmp_path.iterdir()] == ["model.safetensors"]


def test_kernels_are_compiled_first_only_where_nobody_has(client, monkeypatch):
    client.capabilities()
    assert not compiles_first(), "the start of this server has noted it"
    monkeypatch.setattr("ellq_kernels.cpu.caching.is_cold", lambda: True)
    assert compiles_first()
    monkeypatch.setitem(sys.modules, "ellq_server.warm_up", None)
    assert not compiles_first(), "no server, no kernels"


def test_only_the_maker_of_kernels_imports_numba():
    """There one thread waits for another; the question whether to be patient is asked while the server starts."""
    code = (
        "import sys, ellq_kernels\n"
        "from ellq_server.warm_up import compiles_first\n"
        "make = ellq_kernels.MAKERS['cpu']\n"
        "def watched(threads):\n"
        "  print('numba' in sys.modules)\n"
        "  return make(threads)\n"
        "ellq_kernels.MAKERS['cpu'] = watched\n"
        "compiles_first()\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (told.stdout, told.stderr) == ("False\n", "")
