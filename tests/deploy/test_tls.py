"""TLS in the manifests: the secret, its files, the probes beside it, and mutual TLS on top."""

from pathlib import PurePosixPath

import pytest
import yaml
from tests.deploy.rendering import OVERLAYS, applied, render

from ellq_server.settings import Settings

COMPONENTS = OVERLAYS.parent / "components"
KEYS = {"tls.crt", "tls.key", "ca.crt"}
"""What cert-manager puts into a secret."""


@pytest.fixture(params=["cpu-tls", "gpu-tls"])
def overlay(request):
    return OVERLAYS / request.param


def test_every_file_lies_in_the_secret(pod, container, environment):
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "tls"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tls"]
    files = {name: PurePosixPath(path) for name, path in environment.items() if name.startswith("ELLQ_TLS_")}
    assert files.keys() == {"ELLQ_TLS_CERTIFICATE_FILE", "ELLQ_TLS_KEY_FILE"}
    assert {str(path.parent) for path in files.values()} == {mount["mountPath"]}
    assert {path.name for path in files.values()} <= KEYS
    assert volume["secret"]["secretName"] == "ellq-tls"
    assert mount["readOnly"]


def test_files_are_replaced_and_read_by_the_group_alone(pod, container):
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "tls"]
    assert "subPath" not in mount
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tls"]
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_the_probes_are_the_only_ones_that_come_in_plaintext(objects, environment):
    port = int(environment["ELLQ_HEALTH_LISTEN"].rpartition(":")[2])
    assert port not in {port["port"] for port in objects["Service"]["spec"]["ports"]}
    (grpc,) = [port for port in objects["Service"]["spec"]["ports"] if port["name"] == "grpc"]
    assert grpc["appProtocol"] == "https"


def test_without_tls_the_port_says_that_it_is_plaintext():
    (service,) = [found for found in render(OVERLAYS / "cpu") if found["kind"] == "Service"]
    assert {port["name"]: port["appProtocol"] for port in service["spec"]["ports"]}["grpc"] == "kubernetes.io/h2c"


def test_client_certificates_need_only_their_component(overlay):
    (before,) = [found for found in render(overlay) if found["kind"] == "Deployment"]
    (after,) = [
        found for found in applied(COMPONENTS / "client-certificates", render(overlay)) if found["kind"] == "Deployment"
    ]
    old, new = (found["spec"]["template"]["spec"]["containers"][0]["env"] for found in (before, after))
    (added,) = [entry for entry in new if entry not in old]
    assert added["name"].removeprefix("ELLQ_").lower() in Settings.model_fields
    assert PurePosixPath(added["value"]).name in KEYS


def test_every_component_is_one():
    for path in COMPONENTS.glob("*/kustomization.yaml"):
        assert yaml.safe_load(path.read_text())["kind"] == "Component"
