"""What the manifests mean together, beyond each being well formed."""

import os
import tomllib
from pathlib import Path

import pytest
import yaml

from ellq_server.settings import PREFIX, Settings, UnknownSetting, refuse_unknown_names

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def in_bytes(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def patience_seconds(probe) -> int:
    """Return how long a probe may fail before Kubernetes acts."""
    return probe["periodSeconds"] * probe["failureThreshold"]


@pytest.fixture
def settings(environment, monkeypatch) -> Settings:
    """What the server reads in that pod, and nothing of this machine; raises on a value that it would refuse."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()  # pyright: ignore[reportCallIssue]


def test_every_selector_finds_the_pods(objects, deployment, pod):
    labels = deployment["template"]["metadata"]["labels"].items()
    (spread,) = pod["topologySpreadConstraints"]
    selectors = [
        deployment["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)


def test_ports_are_those_the_server_listens_on(objects, container, settings):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": int(settings.listen.rpartition(":")[2]), "metrics": settings.metrics_port}
    asked = settings.health_listen or settings.listen
    assert {container[probe]["grpc"]["port"] for probe in PROBES} == {int(asked.rpartition(":")[2])}
    assert {port["name"]: port["port"] for port in objects["Service"]["spec"]["ports"]} == ports
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} == ports.keys()
    admitted = {port["port"] for rule in objects["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]}
    assert admitted == ports.keys()


def test_clients_find_each_ready_replica(objects):
    assert objects["Service"]["spec"]["clusterIP"] == "None"
    assert objects["Service"]["spec"]["publishNotReadyAddresses"] is False


def test_the_server_knows_every_variable(environment, settings):
    refuse_unknown_names(environment)
    assert settings.model_fields_set == {name.removeprefix("ELLQ_").lower() for name in environment}


def test_variables_of_service_links_would_stop_the_server_so_there_are_none(objects, pod):
    injected = f"{objects['Service']['metadata']['name'].upper()}_SERVICE_HOST"
    with pytest.raises(UnknownSetting, match=injected):
        refuse_unknown_names({injected: "10.0.0.1"})
    assert pod["enableServiceLinks"] is False


def test_a_drain_ends_before_the_kill(pod, container, settings):
    assert "lifecycle" not in container  # a preStop would use up part of the grace period
    assert pod["terminationGracePeriodSeconds"] > settings.drain_delay_seconds + settings.drain_seconds


def test_a_rollout_outlasts_a_full_drain_and_a_slow_start(deployment, pod, container):
    slowest = pod["terminationGracePeriodSeconds"] + patience_seconds(container["startupProbe"])
    assert deployment["progressDeadlineSeconds"] > slowest


def test_a_busy_server_is_not_killed(container):
    five_minutes = 300  # as the manifest and docs/operations.md say
    assert patience_seconds(container["startupProbe"]) == five_minutes
    assert patience_seconds(container["livenessProbe"]) == five_minutes
    assert patience_seconds(container["readinessProbe"]) < patience_seconds(container["livenessProbe"])
    assert all(container[probe]["timeoutSeconds"] <= container[probe]["periodSeconds"] for probe in PROBES)


def test_disruptions_leave_a_replica_and_let_nodes_empty(objects, deployment):
    assert 0 < objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] < deployment["replicas"]
    rollout = deployment["strategy"]["rollingUpdate"]
    assert rollout["maxUnavailable"] < deployment["replicas"]
    assert rollout["maxUnavailable"] + rollout["maxSurge"] > 0


def test_threads_and_weights_fit_the_pod(pod, container, settings):
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    assert settings.threads == int(requests["cpu"])
    assert "cpu" not in limits
    assert requests["memory"] == limits["memory"]  # nothing to lose when the node is short of memory
    held = [volume["emptyDir"] for volume in pod["volumes"] if volume.get("emptyDir", {}).get("medium") == "Memory"]
    in_memory = sum(in_bytes(volume["sizeLimit"]) for volume in held)
    assert 2 * settings.memory_bytes + in_memory <= in_bytes(limits["memory"])


def test_the_pod_holds_no_privilege(objects, pod, container, image):
    user, group = (int(number) for number in image["USER"][-1].split(":"))
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": group,
        "fsGroup": group,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == objects["ServiceAccount"]["metadata"]["name"]


def test_the_service_calls_nobody(objects):
    assert objects["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert objects["NetworkPolicy"]["spec"]["egress"] == []


def test_scratch_is_sized_and_mounted(pod, container):
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume}
    on_disk = in_bytes(volumes["scratch"])
    assert on_disk < in_bytes(container["resources"]["limits"]["ephemeral-storage"])


def test_only_the_gpu_overlay_asks_for_a_gpu(overlay: Path, objects, deployment, pod, container, settings):
    if overlay.name.startswith("cpu"):
        assert "nvidia" not in yaml.dump(objects)
        assert settings.kernels == "cpu"
        return
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["runtimeClassName"] == "nvidia"
    assert "/dev/shm" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert deployment["strategy"]["rollingUpdate"]["maxSurge"] == 0
    assert settings.kernels == "reference-cuda"


def test_the_image_is_of_this_version(overlay: Path, container):
    project = tomllib.loads((overlay.parents[3] / "pyproject.toml").read_text())["project"]
    assert container["image"] == f"ellq:{project['version']}" + ("-cuda" if overlay.name.startswith("gpu") else "")
