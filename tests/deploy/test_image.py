"""The Dockerfile: linted by hadolint, and in agreement with the server, the manifests and the build context."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

from ellq_server.settings import Settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def copied(image) -> set[str]:
    """Return what the build takes out of the repository."""
    return {source for line in image["COPY"] if not line.startswith("--from") for source in line.split()[:-1]}


def variables(image) -> dict[str, str]:
    return dict(assignment.split("=", 1) for line in image["ENV"] for assignment in line.split())


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_base_is_an_argument(image):
    assert image["ARG"][0].startswith("BASE=")
    assert {line.split()[0] for line in image["FROM"]} == {"${BASE}"}


def test_it_serves_as_a_numbered_user_and_stops_on_sigterm(image):
    user, group = image["USER"][-1].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert json.loads(image["ENTRYPOINT"][-1]) == ["ellq", "serve"]
    assert image["STOPSIGNAL"] == ["SIGTERM"]


def test_the_command_and_the_health_check_exist(image):
    assert "ellq" in PROJECT["project"]["scripts"]
    _, command = image["HEALTHCHECK"][0].split(" CMD ")
    python, flag, module = json.loads(command)
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None


def test_it_exposes_the_default_ports(image):
    listen, metrics_port = (Settings.model_fields[name].default for name in ("listen", "metrics_port"))
    assert image["EXPOSE"] == [f"{listen.rpartition(':')[2]} {metrics_port}"]


def test_the_default_extra_exists(image):
    extras = dict(line.split("=") for line in image["ARG"] if "=" in line)["EXTRAS"]
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()


def test_the_context_admits_what_the_build_copies_and_the_wheel_needs(image):
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert copied(image) == {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied(image))
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {package.split("/")[0] for package in packages} | {"pyproject.toml", PROJECT["project"]["readme"]}
    assert needed | set(PROJECT["project"]["license-files"]) | {"constraints.txt"} == copied(image)


def test_all_that_is_written_lies_on_the_scratch_of_the_pod(image, container):
    (scratch,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "scratch"]
    for name in ("HOME", "NUMBA_CACHE_DIR"):
        assert PurePosixPath(variables(image)[name]).is_relative_to(scratch)
