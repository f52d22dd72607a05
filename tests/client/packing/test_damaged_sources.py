"""A packed source leaves block by block, before the digest of its tensor is known: what comes of a false one is dropped."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.client.folders.models import tree, write_model
from tests.client.packing.conftest import write_packed

from ellq.v1.frames import FRAME_BYTES
from ellq_client import AsyncClient, Fraction, SourceError, pack
from ellq_client.packing.words import BLOCK_WORDS

HALF = Fraction(pruned_ratio=0.5)
OVER_ALL = Fraction(pruned_ratio=0.5, scope="global")
REFUSED = r"tensor 'b.weight': its bytes do not have their digest"


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Return a packed file with another digest for the last of its tensors, which has several blocks."""
    shape = (3, BLOCK_WORDS // 2)
    weights = {name: np.random.default_rng(1).integers(-9, 9, shape).astype(np.float16) for name in ("a.weight", "b.weight")}
    save_file(weights, tmp_path / "dense")
    path = tmp_path / "damaged.safetensors"
    pack(tmp_path / "dense", path)
    (tmp_path / "dense").unlink()
    damage(path)
    return path


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("rule", [HALF, OVER_ALL], ids=["by neuron", "over all"])
def test_no_analysis_comes_of_weights_that_are_not_theirs(client, damaged, rule):
    with client.analyze(damaged, rule=rule) as run, pytest.raises(SourceError, match=REFUSED):
        run.result()


@pytest.mark.parametrize("rule", [HALF, OVER_ALL], ids=["by neuron", "over all"])
@pytest.mark.parametrize("encoding", ["dense", "packed"])
def test_nothing_is_written_of_weights_that_are_not_theirs(client, damaged, tmp_path, rule, encoding):
    with pytest.raises(SourceError, match=REFUSED):
        client.compress(damaged, tmp_path / "out.safetensors", rule=rule, encoding=encoding).result()
    assert [path.name for path in tmp_path.iterdir()] == [damaged.name]
    (tmp_path / "out.safetensors").write_text("older")
    with pytest.raises(SourceError, match=REFUSED):
        client.compress(damaged, tmp_path / "out.safetensors", rule=rule, encoding=encoding).result()
    assert (tmp_path / "out.safetensors").read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 2


async def test_the_same_holds_for_asyncio(damaged, tmp_path, monkeypatch):
    monkeypatch.delenv("ELLQ_SERVER", raising=False)
    async with AsyncClient() as client:
        with pytest.raises(SourceError, match=REFUSED):
            await client.analyze(damaged, rule=HALF).result()
        with pytest.raises(SourceError, match=REFUSED):
            await client.compress(damaged, tmp_path / "out.safetensors", rule=HALF).result()
    assert [path.name for path in tmp_path.iterdir()] == [damaged.name]


@pytest.mark.parametrize("rule", [HALF, OVER_ALL], ids=["by neuron", "over all"])
def test_a_shard_whose_weights_are_not_theirs_is_not_finished(client, tmp_path, rule):
    pack(write_model(tmp_path / "model"), tmp_path / "packed")
    shards = sorted((tmp_path / "packed").glob("*.safetensors"))
    damage(shards[-1])
    out = tmp_path / "out"
    with pytest.raises(SourceError, match="its bytes do not have their digest"):
        client.compress(tmp_path / "packed", out, rule=rule).result()
    unfinished = {} if rule.scope == "global" else {"journal.jsonl", "plan.json"}
    assert {name.rpartition("/")[2] for name in tree(out) if name.endswith(("json", "jsonl"))} == set(unfinished)
    assert all(name.startswith(".ellq-progress/") for name in tree(out)), "nothing is in its place"
    with pytest.raises(SourceError, match="its bytes do not have their digest"):
        client.analyze(tmp_path / "packed", rule=rule).result()


def test_a_stream_of_whole_frames_is_not_taken_for_whole_either(client, tmp_path):
    """Its last frame is full before the digest that follows it is known to be false."""
    header_bytes = 8 + 96
    words = (FRAME_BYTES - header_bytes) // 2
    header = json.dumps({"b.weight": {"dtype": "F16", "shape": [1, words], "data_offsets": [0, 2 * words]}}).encode()
    dense = (header_bytes - 8).to_bytes(8, "little") + header.ljust(header_bytes - 8) + np.ones(words, np.float16).tobytes()
    assert len(dense) == FRAME_BYTES
    path = write_packed(tmp_path / "damaged.safetensors", dense)
    damage(path)
    with pytest.raises(SourceError, match=REFUSED):
        client.analyze(path, rule=HALF).result()
    with pytest.raises(SourceError, match=REFUSED):
        client.compress(path, tmp_path / "out.safetensors", rule=HALF).result()
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.safetensors"]
