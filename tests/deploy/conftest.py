"""What every test of the manifests looks at: one overlay after the other, and the image."""

from pathlib import Path
from typing import Any

import pytest
from tests.deploy.rendering import OVERLAYS, ROOT, render


@pytest.fixture(params=["cpu", "gpu", "cpu-tls", "gpu-tls"])
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
