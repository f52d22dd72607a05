"""What docs/networks.md says can be run, runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "networks.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_examples():
    assert len(PYTHON) == 7


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_examples(code, tmp_path):
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_page_names_every_operation():
    from ellq_client import networks

    classes = [name for name in networks.__all__ if hasattr(getattr(networks, name), "kind")]
    assert len(classes) == 26
    assert all(f"`{name}`" in PAGE or f"`{name}(" in PAGE for name in classes)
