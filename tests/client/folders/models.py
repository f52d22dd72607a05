"""Checkpoints in folders, as people have them."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

INDEX = "model.safetensors.index.json"
CONFIG = {"tie_word_embeddings": True}


def shard_name(number: int, of: int) -> str:
    return f"model-{number:05d}-of-{of:05d}.safetensors"


def write_model(root: Path, *, shards: int = 3, rows: int = 6, columns: int = 8) -> Path:
    """Write heavy-tailed layers, whose magnitudes tie across shards, with everything that lies beside them."""
    root.mkdir(parents=True)
    random = np.random.default_rng(7)
    weight_map, total = {}, 0
    for number in range(1, shards + 1):
        weight = np.round(random.standard_t(3, size=(rows, columns)), 1).astype(np.float32)
        tensors = {f"layer{number}.weight": weight, f"layer{number}.bias": np.ones(rows, np.float32)}
        if number == 1:  # the head is tied to it: one tensor is stored, as the library does
            tensors["embed_tokens.weight"] = random.normal(size=(5, columns)).astype(np.float32)
        save_file(tensors, root / shard_name(number, shards), metadata={"format": "pt", "shard": str(number)})
        weight_map |= dict.fromkeys(tensors, shard_name(number, shards))
        total += sum(tensor.nbytes for tensor in tensors.values())
    write_index(root, weight_map, {"total_size": total, "total_parameters": total // 4})
    write_others(root)
    return root


def write_index(root: Path, weight_map: dict[str, str], metadata: dict[str, object]) -> None:
    text = json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True) + "\n"
    (root / INDEX).write_text(text)


def read_index(root: Path) -> dict:
    return json.loads((root / INDEX).read_text())


def write_others(root: Path) -> None:
    (root / "config.json").write_text(json.dumps(CONFIG))
    (root / "LICENSE").write_text("as you like")
    (root / "1_Pooling").mkdir()
    (root / "1_Pooling" / "config.json").write_text("{}")
    (root / "run.sh").write_text("exit 0")
    (root / "run.sh").chmod(0o755)


def tree(root: Path) -> dict[str, bytes]:
    """Return every file of a folder, by name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
