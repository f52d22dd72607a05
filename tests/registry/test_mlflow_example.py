"""docs/examples/mlflow_compress.py against a real MLflow server. Runs by `make test-registry`, in an environment of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ellq_client.verifying import verify

mlflow = pytest.importorskip("mlflow", reason="MLflow has an environment of its own: make test-registry")

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
    with (folder / "log").open("w") as log, subprocess.Popen([*command, *stores], stdout=log, stderr=log) as server:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not answers(address):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.3)
        yield address
        server.terminate()


def answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/health", timeout=2).status == 200
    except OSError:
        return False


def test_a_registered_model_gets_a_compressed_version(registry: str, tmp_path: Path) -> None:
    weights = Path(os.environ["MINILM"]) / "model/model.safetensors"
    folder = tmp_path / "minilm"
    folder.mkdir()
    shutil.copy(weights, folder)
    shutil.copy(weights.with_name("config.json"), folder)
    mlflow.set_tracking_uri(registry)
    client = mlflow.tracking.MlflowClient()
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "model")
    client.create_registered_model("minilm")
    client.create_model_version("minilm", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("minilm", "champion", "1")

    command = [sys.executable, str(EXAMPLE), "models:/minilm@champion", "--registry", registry]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "minilm version 2, compressed from version 1" in ended.stdout

    new = client.get_model_version("minilm", "2")
    assert new.tags["ellq.source_version"] == "1"
    assert new.tags["ellq.source_run"] == run.info.run_id
    assert client.get_model_version_by_alias("minilm", "champion").version == "1"
    fetched = Path(mlflow.artifacts.download_artifacts("models:/minilm/2", dst_path=str(tmp_path / "fetched")))
    assert json.loads((fetched / "config.json").read_text()) == json.loads((folder / "config.json").read_text())
    assert verify(folder / "model.safetensors", fetched / "model.safetensors", fetched / "model.ellq.json")
