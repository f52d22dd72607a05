"""Compress a registered MLflow model and register the result as a new version, with its lineage and its certificate.

    python mlflow_compress.py models:/minilm@champion --registry http://localhost:5000 [--server ellq:50051]

The caller moves aliases: this only adds a version. Needs mlflow-skinny (or mlflow) beside ellq.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from ellq_client import Client, Compression, SparsityIndex
from ellq_client.report import write_report


def main() -> None:
    """Fetch, compress, register."""
    arguments = read_arguments()
    mlflow.set_tracking_uri(arguments.registry)
    registry = MlflowClient()
    origin = resolve(registry, arguments.model)
    with tempfile.TemporaryDirectory() as scratch, Client(arguments.server) as client:
        uri = f"models:/{origin.name}/{origin.version}"
        source = Path(mlflow.artifacts.download_artifacts(uri, dst_path=f"{scratch}/source"))
        (weights,) = source.rglob("*.safetensors")
        output = Path(shutil.copytree(source, f"{scratch}/model", ignore=shutil.ignore_patterns(weights.name)))
        target = output / weights.relative_to(source)
        compression = client.compress(weights, target, rule=SparsityIndex(q=arguments.q)).result()
        write_report(compression, target.with_suffix(".ellq.json"))
        new = register(registry, origin, output, compression)
    print(f"{compression}\n{new.name} version {new.version}, compressed from version {origin.version}")


def resolve(registry: MlflowClient, uri: str) -> ModelVersion:
    """Return the model version that models:/name/version or models:/name@alias means."""
    name = uri.removeprefix("models:/")
    if "@" in name:
        return registry.get_model_version_by_alias(*name.rsplit("@", 1))
    return registry.get_model_version(*name.rsplit("/", 1))


def register(registry: MlflowClient, origin: ModelVersion, folder: Path, compression: Compression) -> ModelVersion:
    """Log the folder as artifacts of a run and make it a new version of the same model."""
    summary = compression.summary
    with mlflow.start_run(run_name=f"ellq {origin.name} {origin.version}") as run:
        mlflow.log_artifacts(str(folder), "model")
        mlflow.log_metrics({"ellq.kept_weights": summary.kept or 0, "ellq.frobenius_ratio": summary.frobenius_ratio or 0.0})
        tags = {
            "ellq.source_version": origin.version,
            "ellq.source_run": origin.run_id or "",
            "ellq.version": compression.version,
        }
        return registry.create_model_version(origin.name, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)


def read_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="models:/NAME/VERSION or models:/NAME@ALIAS")
    parser.add_argument("--registry", required=True, help="address of the MLflow server")
    parser.add_argument("--server", help="address of an ellq server; without it one runs in this process")
    parser.add_argument("--q", type=float, default=0.5, help="order of the sparsity index")
    return parser.parse_args()


if __name__ == "__main__":
    main()
