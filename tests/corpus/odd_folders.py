"""Folders: what hubs give out beside plain checkpoints, and indices that lie."""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.corpus.cases import Case, Make, refused, works
from tests.corpus.headers import WEIGHT
from tests.corpus.not_weights import PAGE, POINTER

fine, bad = partial(works, "m"), partial(refused, "m")

INDEX = "model.safetensors.index.json"
TWO = {"model-1.safetensors": {"a.weight": WEIGHT}, "model-2.safetensors": {"b.weight": WEIGHT}}


def folder(files: Mapping[str, object]) -> Make:
    """Return what writes files by name: bytes, tensors by name, or what JSON holds of a file called .json."""

    def make(path: Path) -> None:
        path.mkdir()
        for name, content in files.items():
            place = path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                place.write_bytes(content)
            elif name.endswith(".json"):
                place.write_text(json.dumps(content))
            else:
                save_file(content, place)

    return make


def sharded(weight_map: object, **more: object) -> Make:
    """Return what writes two shards and an index that tells this."""
    return folder({**TWO, INDEX: {"metadata": {"total_size": 256}, "weight_map": weight_map}, **more})


def linked(name: str, target: str) -> Make:
    """Return what writes two shards, an index and a link."""

    def make(path: Path) -> None:
        sharded(RIGHT)(path)
        (path / name).symlink_to(target)

    return make


def piped(path: Path) -> None:
    sharded(RIGHT)(path)
    os.mkfifo(path / "notes")


RIGHT = {"a.weight": "model-1.safetensors", "b.weight": "model-2.safetensors"}
LORA = {
    f"base_model.model.layers.0.q_proj.lora_{side}.weight": np.random.default_rng(5).normal(size=shape).astype(np.float32)
    for side, shape in (("A", (4, 16)), ("B", (16, 4)))
}

HUBS: dict[str, Case] = {
    "shards": fine(sharded(RIGHT), "a.weight", "b.weight"),
    "a false total size": fine(
        folder({**TWO, INDEX: {"metadata": {"total_size": 1}, "weight_map": RIGHT}}), "a.weight", "b.weight"
    ),
    "an index without metadata": fine(folder({**TWO, INDEX: {"weight_map": RIGHT}}), "a.weight", "b.weight"),
    "a name with spaces": works("my model 'x'", sharded(RIGHT), "a.weight", "b.weight"),
    "an adapter": fine(folder({"adapter_model.safetensors": LORA, "adapter_config.json": {"r": 4}}), *LORA),
    "sentence transformers": fine(
        folder(
            {
                "model.safetensors": {"fc.weight": WEIGHT},
                "modules.json": [],
                "1_Pooling/config.json": {},
                "2_Dense/model.safetensors": LORA,
            }
        ),
        "fc.weight",
    ),
    "a tokenizer that is a pickle": fine(folder({"model.safetensors": {"w": WEIGHT}, "tokenizer.pkl": b"\x80\x04N."}), "w"),
}

FALSE: dict[str, Case] = {
    "diffusers": bad(
        folder({"model_index.json": {}, "unet/model.safetensors": LORA, "vae/model.safetensors": TWO["model-1.safetensors"]}),
        r"exactly one .safetensors file.*found: none(.|\n)*ellq compress .*/unet \(here: unet, vae\)",
    ),
    "a shard in the folder above": bad(sharded({**RIGHT, "a.weight": "../model-1.safetensors"}), r"\.\./model-1\.safetensors"),
    "a shard anywhere": bad(sharded({**RIGHT, "a.weight": "/etc/passwd"}), "/etc/passwd"),
    "a shard that is not there": bad(sharded({**RIGHT, "c.weight": "model-3.safetensors"}), r"model-3\.safetensors"),
    "a shard that is no text": bad(sharded({**RIGHT, "a.weight": 1}), r"model\.safetensors\.index\.json"),
    "a shard too many": bad(sharded(RIGHT, **{"model-3.safetensors": LORA}), r"model-3\.safetensors is no shard"),
    "a tensor in the wrong shard": bad(
        sharded({"a.weight": "model-2.safetensors", "b.weight": "model-1.safetensors"}),
        "'a.weight' is in model-2.*it is in model-1",
    ),
    "a tensor that is not there": bad(sharded({**RIGHT, "c.weight": "model-1.safetensors"}), "'c.weight'.*no shard"),
    "a tensor that is not in the index": bad(sharded({"a.weight": "model-1.safetensors"}), r"model-2\.safetensors"),
    "an index of nothing": bad(sharded({}), "m cannot be read as a checkpoint|index"),
    "an index that is a list": bad(sharded([]), r"model\.safetensors\.index\.json"),
    "an index that is a web page": bad(folder({**TWO, INDEX: PAGE}), r"model\.safetensors\.index\.json"),
    "an index that is a pointer": bad(folder({**TWO, INDEX: POINTER}), r"model\.safetensors\.index\.json"),
    "two indices": bad(sharded(RIGHT, **{f"fp16.{INDEX}": {}}), "it has 2 indices"),
    "a shard that is a pointer": bad(
        sharded(RIGHT, **{"model-2.safetensors": POINTER}), r"model-2\.safetensors .*pointer of Git LFS"
    ),
    "two files and no index": bad(folder(TWO), r"exactly one .safetensors file.*model-1\.safetensors, model-2\.safetensors"),
    "nothing but a .bin": bad(
        folder({"pytorch_model.bin": b"\x80\x02N."}), r"found: none(.|\n)*ellq compress .*pytorch_model\.bin"
    ),
    "a link in a circle": bad(linked("loop", "loop"), "loop is a link"),
    "a link that leads out": bad(linked("config.json", "/etc/passwd"), r"config\.json is a link that leads out"),
    "a link to its own folder": bad(linked("again", "."), "again is a link"),
    "a named pipe": bad(piped, "notes is no ordinary file"),
    "the name of the work": bad(sharded(RIGHT, **{".ellq-progress": b"x"}), r"\.ellq-progress"),
}

CASES = {**HUBS, **FALSE}
