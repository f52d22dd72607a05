"""What docs/folders.md says can be run, runs."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from tests.client.folders.models import write_model

from ellq_client.cli import main

PAGE = (Path(__file__).parents[3] / "docs" / "folders.md").read_text()


def test_commands_and_code_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    write_model(tmp_path / "model")
    commands = re.findall(r"^\$ ellq (.*)$", PAGE, re.MULTILINE)
    for command in commands:
        monkeypatch.setattr(sys, "argv", ["ellq", *shlex.split(command)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 0, capsys.readouterr().err
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    shutil.rmtree("small")
    exec(compile(code, "folders.md", "exec"), {})
    assert "model-00003-of-00003.safetensors" in capsys.readouterr().out
    assert len(commands) == 3
