"""Compress a registered MLflow model and register the result as a new version, with its lineage and its certificate.

    python mlflow_compress.py models:/minilm@champion --registry http://localhost:5000 [--server ellq:50051] [--at-most 0.05]

The weights may be one safetensors file or shards with their index; whatever else the model has goes along. The caller moves
aliases: this only adds a version. Needs mlflow-skinny (or mlflow) beside ellq.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from ellq_client import Client, Compression, SparsityIndex, verify


def main() -> None:
    """Fetch, compress, verify, register."""
    arguments = read_arguments()
    mlflow.set_tracking_uri(arguments.registry)
    registry = MlflowClient()
    origin = resolve(registry, arguments.model)
    with tempfile.TemporaryDirectory() as scratch, Client(arguments.server) as client:
        uri = f"models:/{origin.name}/{origin.version}"
        source = Path(mlflow.artifacts.download_artifacts(uri, dst_path=f"{scratch}/source"))
        weights = folder_of_weights(source)
        # Everything but that folder, which is left empty: compress fills it with shards, index, other files and the report.
        output = shutil.copytree(source, f"{scratch}/model", ignore=lambda at, names: names if Path(at) == weights else [])
        target = Path(output) / weights.relative_to(source)
        compression = client.compress(weights, target, rule=SparsityIndex(q=arguments.q)).result()
        verify(weights, target, target / "ellq-report.json")
        loss = compression.summary.frobenius_ratio
        if loss is None or loss > arguments.at_most:
            sys.exit(f"not registered: the certificate is {loss} of the norm, allowed is at most {arguments.at_most}")
        new = register(registry, origin, Path(output), compression)
    print(f"{compression}\n{new.name} version {new.version}, compressed from version {origin.version}")


def resolve(registry: MlflowClient, uri: str) -> ModelVersion:
    """Return the model version that models:/NAME/VERSION or models:/NAME@ALIAS means."""
    found = re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|@(.+))", uri)
    if found is None:
        sys.exit(f"{uri} is neither models:/NAME/VERSION nor models:/NAME@ALIAS")
    name, version, alias = found.groups()
    return registry.get_model_version(name, version) if version else registry.get_model_version_by_alias(name, alias)


def folder_of_weights(model: Path) -> Path:
    """Return the folder that holds the model's weights."""
    folders = sorted({weights.parent for weights in model.rglob("*.safetensors")})
    if len(folders) != 1:
        told = ", ".join(folder.relative_to(model).as_posix() for folder in folders) or "none"
        sys.exit(f"a model has its safetensors files in one folder; this one: {told}")
    return folders[0]


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
    parser.add_argument("--at-most", type=float, default=1.0, help="register nothing when the certificate exceeds this share")
    parser.add_argument("--q", type=float, default=0.5, help="order of the sparsity index")
    return parser.parse_args()


if __name__ == "__main__":
    main()
