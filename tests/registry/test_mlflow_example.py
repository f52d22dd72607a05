"""docs/examples/mlflow_compress.py against a real MLflow server. Runs by `make test-registry`, in an environment of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.client.folders.models import write_model

from ellq_client.verifying import verify

mlflow = pytest.importorskip("mlflow", reason="MLflow has an environment of its own: make test-registry")

pytestmark = pytest.mark.timeout(900)

START_SECONDS = 300
"""Of MLflow: imports and the tables of a new database, on a machine that has other things to do."""

EXAMPLE = Path(__file__).parents[2] / "docs/examples/mlflow_compress.py"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server: SQLite behind, artifacts served from a local folder."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    address, log = f"http://127.0.0.1:{port}", folder / "log"
    # a session of its own, so that its workers, which outlive it when it is killed, can be ended with it
    with (
        log.open("w") as told,
        subprocess.Popen([*command, *stores], stdout=told, stderr=told, start_new_session=True) as server,
    ):
        try:
            wait_for(server, address, log)
            yield address
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def wait_for(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(address):
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/health", timeout=2).status == 200
    except OSError:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of one safetensors file and its configuration."""
    weights = Path(os.environ["MINILM"]) / "model/model.safetensors"
    place = tmp_path / "minilm"
    place.mkdir()
    shutil.copy(weights, place)
    shutil.copy(weights.with_name("config.json"), place)
    return place


def registered(registry: str, folder: Path, name: str) -> tuple[str, str]:
    """Register a folder as version 1 of a new model; return what names it, and the run that it came from."""
    mlflow.set_tracking_uri(registry)
    client = mlflow.tracking.MlflowClient()
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "model")
    client.create_registered_model(name)
    client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias(name, "champion", "1")
    return f"models:/{name}@champion", run.info.run_id


def compressed(registry: str, model: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), model, "--registry", registry, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def fetched(model: str, place: Path) -> Path:
    return Path(mlflow.artifacts.download_artifacts(model, dst_path=str(place / "fetched")))


def test_a_registered_model_gets_a_compressed_version(registry: str, folder: Path, tmp_path: Path) -> None:
    model, run = registered(registry, folder, "minilm")
    ended = compressed(registry, model)
    assert ended.returncode == 0, ended.stderr
    assert "minilm version 2, compressed from version 1" in ended.stdout

    client = mlflow.tracking.MlflowClient()
    new = client.get_model_version("minilm", "2")
    assert new.tags["ellq.source_version"] == "1"
    assert new.tags["ellq.source_run"] == run
    assert client.get_model_version_by_alias("minilm", "champion").version == "1"
    output = fetched("models:/minilm/2", tmp_path)
    assert json.loads((output / "config.json").read_text()) == json.loads((folder / "config.json").read_text())
    assert verify(folder, output, output / "ellq-report.json")


def test_shards_below_other_files(registry: str, tmp_path: Path) -> None:
    """As MLflow lays out a model of transformers: a description at the top, the weights in a folder of their own."""
    model = tmp_path / "parts/model"
    write_model(model)
    (tmp_path / "parts/MLmodel").write_text("flavors: {}\n")
    ended = compressed(registry, registered(registry, tmp_path / "parts", "shards")[0])
    assert ended.returncode == 0, ended.stderr
    output = fetched("models:/shards/2", tmp_path)
    assert (output / "MLmodel").read_text() == "flavors: {}\n"
    assert verify(model, output / "model", output / "model/ellq-report.json")


def test_above_the_limit_nothing_is_registered(registry: str, folder: Path) -> None:
    ended = compressed(registry, registered(registry, folder, "strict")[0], "--at-most", "0.001")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("not registered: the certificate is 0.0")
    assert [each.version for each in mlflow.tracking.MlflowClient().search_model_versions("name='strict'")] == ["1"]


@pytest.mark.parametrize("model", ["minilm", "models:/minilm", "models:/minilm/latest"])
def test_a_name_that_means_no_version(registry: str, model: str) -> None:
    ended = compressed(registry, model)
    assert ended.returncode == 1
    assert ended.stderr == f"{model} is neither models:/NAME/VERSION nor models:/NAME@ALIAS\n"
