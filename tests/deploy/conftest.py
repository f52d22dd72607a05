"""The manifests as a cluster would get them.

No kustomize comes with Python, so this renders the few words that our kustomizations use and refuses all others.
test_rendering.py holds it to the real one wherever that is installed.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "deploy/kustomize/overlays"
UNDERSTOOD = {"apiVersion", "kind", "resources", "patches"}
MERGED_BY = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
"""Lists that a strategic merge joins by a key, as the API declares them."""


def render(directory: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization with its patches applied."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    if unknown := kustomization.keys() - UNDERSTOOD:
        raise ValueError(f"{directory}: this renderer does not know {sorted(unknown)}")
    objects = [found for entry in kustomization["resources"] for found in load(directory / entry)]
    for patch in kustomization.get("patches", []):
        (body,) = load(directory / patch["path"])
        (target,) = [found for found in objects if identity(found) == identity(body)]
        objects[objects.index(target)] = merge(target, body)
    return objects


def load(path: Path) -> list[dict[str, Any]]:
    return render(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))


def identity(found: dict[str, Any]) -> tuple[str, str, str]:
    return found["apiVersion"], found["kind"], found["metadata"]["name"]


def merge(base: Any, patch: Any, field: str = "") -> Any:
    """Return base with patch laid over it, as a strategic merge patch."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {name: merge(base[name], value, name) if name in base else value for name, value in patch.items()}
    if isinstance(base, list):
        key = MERGED_BY[field]  # a KeyError: whether this list is joined or replaced is not known here
        patches = {item[key]: item for item in patch}
        return [merge(item, patches.pop(item[key], {})) for item in base] + list(patches.values())
    if patch is None:
        raise ValueError(f"{field}: this renderer does not delete")
    return patch


@pytest.fixture(params=["cpu", "gpu"])
def overlay(request: pytest.FixtureRequest) -> Path:
    return OVERLAYS / request.param


@pytest.fixture
def objects(overlay: Path) -> dict[str, dict[str, Any]]:
    """The objects of one overlay by kind, of which it has one each."""
    rendered = render(overlay)
    by_kind = {found["kind"]: found for found in rendered}
    assert len(by_kind) == len(rendered)
    return by_kind


@pytest.fixture
def deployment(objects) -> dict[str, Any]:
    return objects["Deployment"]["spec"]


@pytest.fixture
def pod(deployment) -> dict[str, Any]:
    return deployment["template"]["spec"]


@pytest.fixture
def container(pod) -> dict[str, Any]:
    (only,) = pod["containers"]
    return only


@pytest.fixture
def environment(container) -> dict[str, str]:
    """The variables of the container, with references to its own resources resolved."""
    resources = {f"requests.{name}": amount for name, amount in container["resources"]["requests"].items()}
    return {
        entry["name"]: entry.get("value") or resources[entry["valueFrom"]["resourceFieldRef"]["resource"]]
        for entry in container["env"]
    }


@pytest.fixture
def image() -> dict[str, list[str]]:
    """The arguments of every instruction of the Dockerfile, in order."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    instructions: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, arguments = line.split(maxsplit=1)
            instructions.setdefault(word, []).append(arguments)
    return instructions
