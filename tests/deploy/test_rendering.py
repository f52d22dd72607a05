"""Our renderer against the real one, and the rendered objects against the API's own schemas."""

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ellq.v1 import compression_pb2

OLDEST_AND_NEWEST = ["1.29", "1.37"]
CUSTOM = {"ServiceMonitor"}
"""Kinds that the API server learns from an operator; their schema does not come with the API."""


def real_kustomize() -> list[str] | None:
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


def unordered(value: Any) -> Any:
    """Return value with its lists of objects sorted: a merge may put what it adds at either end."""
    if isinstance(value, dict):
        return {name: unordered(inner) for name, inner in sorted(value.items())}
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return sorted(map(unordered, value), key=repr)
    return value


@pytest.mark.skipif(real_kustomize() is None, reason="neither kustomize nor kubectl is installed")
def test_the_real_kustomize_renders_the_same(overlay: Path, objects):
    command = [*(real_kustomize() or []), str(overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    real = {found["kind"]: found for found in yaml.safe_load_all(done.stdout)}
    assert unordered(real) == unordered(objects)


@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_every_object_fits_the_schema_of_the_api(objects, version: str):
    builtin = objects.keys() - CUSTOM
    assert builtin == {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"}
    # The return value matters: where a version is missing, an older schema is taken without a word.
    assert {kubernetes_validate.validate(objects[kind], version, strict=True) for kind in builtin} == {version}


@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_the_schema_refuses_a_misspelt_field(objects, version: str):
    wrong = copy.deepcopy(objects["Deployment"])
    wrong["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="enableServiceLink"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_service_monitor_scrapes_the_metrics_port_of_our_service(objects):
    monitor, service = objects["ServiceMonitor"], objects["Service"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() == {"selector", "endpoints"}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint.keys() == {"port", "path", "interval", "scrapeTimeout"}
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    # The operator refuses a scrape that may outlast its interval.
    assert int(endpoint["scrapeTimeout"].removesuffix("s")) <= int(endpoint["interval"].removesuffix("s"))


def test_probes_ask_for_health_that_the_server_reports(container):
    service = compression_pb2.DESCRIPTOR.services_by_name["CompressionService"].full_name
    asked = {container[probe]["grpc"].get("service", "") for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert asked == {"", service}
