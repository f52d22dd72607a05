"""An output on its way to its place, and what an interruption leaves of it."""

import pytest

from ellq_client import sinks


def test_a_file_that_an_interruption_has_kept_from_being_noted_is_removed(tmp_path, monkeypatch):
    create_file = sinks.create_file

    def interrupted(place, permissions):
        create_file(place, permissions).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(sinks, "create_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sinks.write_file(tmp_path / "a.json", [b"{}"], permissions=0o600)
    assert list(tmp_path.iterdir()) == []
