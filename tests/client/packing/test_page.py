"""What docs/packed.md says can be run, runs, in its order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ellq_client.cli import main

PAGE = (Path(__file__).parents[3] / "docs" / "packed.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ ellq (.*)$", PAGE, re.MULTILINE)


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    save_file({"w": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)}, tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ELLQ_SERVER", raising=False)


def test_commands_one_after_the_other(monkeypatch, capsys):
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["ellq", *shlex.split(command)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 0, capsys.readouterr().err


def test_the_python_example():
    (code,) = PYTHON
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    logical, stored, limit = map(int, ran.stdout.split())
    assert limit < stored < logical
