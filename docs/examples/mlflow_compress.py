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

from ellq_client import Client, SparsityIndex
from ellq_client.report import write_report


def main() -> None:
    arguments = read_arguments()
    mlflow.set_tracking_uri(arguments.registry)
    registry = MlflowClient()
    version = resolve(registry, arguments.model)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(
            mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=f"{scratch}/source")
        )
        output = Path(scratch) / "compressed"
        shutil.copytree(source, output, ignore=shutil.ignore_patterns("*.safetensors"))
        with Client(arguments.server) as client:
            for weights in sorted(source.rglob("*.safetensors")):
                relative = weights.relative_to(source)
                compression = client.compress(weights, output / relative, rule=SparsityIndex(q=arguments.q)).result()
                write_report(compression, output / relative.with_suffix(".ellq.json"))
                print(compression)
        print(register(registry, version, output, compression))


def resolve(registry: MlflowClient, uri: str) -> ModelVersion:
    """Return the model version that models:/name/version or models:/name@alias means."""
    name = uri.removeprefix("models:/")
    if "@" in name:
        return registry.get_model_version_by_alias(*name.rsplit("@", 1))
    return registry.get_model_version(*name.rsplit("/", 1))


def register(registry: MlflowClient, origin: ModelVersion, folder: Path, compression: Compression) -> str:
    """Log the folder as artifacts of a run and make it a new version of the same model."""
    with mlflow.start_run(run_name=f"ellq {origin.name} v{origin.version}") as run:
        mlflow.log_artifacts(str(folder), "model")
        summary = compression.summary
        mlflow.log_metric("ellq.kept", summary.kept)
        mlflow.log_metric("ellq.frobenius_ratio", summary.frobenius_ratio)
        uri = f"{run.info.artifact_uri}/model"
        tags = {
            "ellq.source_version": origin.version,
            "ellq.source_run": origin.run_id or "",
            "ellq.version": compression.version,
        }
        new = registry.create_model_version(origin.name, uri, run.info.run_id, tags=tags)
    return f"{new.name} version {new.version}, compressed from version {origin.version}"


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="models:/NAME/VERSION or models:/NAME@ALIAS")
    parser.add_argument("--registry", required=True, help="address of the MLflow server")
    parser.add_argument("--server", help="address of an ellq server; without it one runs in this process")
    parser.add_argument("--q", type=float, default=0.5, help="order of the sparsity index")
    return parser.parse_args()


if __name__ == "__main__":
    main()
