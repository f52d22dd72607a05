"""The manifests as a cluster would get them.

No kustomize comes with Python, so this renders the few words that our kustomizations use and refuses all others.
test_rendering.py holds it to the real one wherever that is installed.
"""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "deploy/kustomize/overlays"
UNDERSTOOD = {"apiVersion", "kind", "resources", "components", "patches"}
MERGED_BY = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "port"}
"""Lists that a strategic merge joins by a key, as the API declares them; ports as those of a Service."""


def render(directory: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization, then of its components, with the patches of each applied."""
    return applied(directory, [])


def applied(directory: Path, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the objects with what a kustomization or component adds and changes."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    if unknown := kustomization.keys() - UNDERSTOOD:
        raise ValueError(f"{directory}: this renderer does not know {sorted(unknown)}")
    objects = objects + [found for entry in kustomization.get("resources", []) for found in load(directory / entry)]
    for entry in kustomization.get("components", []):
        objects = applied(directory / entry, objects)
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
