"""A client with a server in this process, and what every format must keep of itself."""

from pathlib import Path

import numpy as np

from ellq_client import Compression, Fraction
from ellq_client.sources import open_source

HALF = Fraction(pruned_ratio=0.5)


def sent(path: Path) -> dict[str, bytes]:
    """Return the bytes of every tensor that would be sent of a file."""
    return {entry.name: bytes(entry.load()) for entry in open_source(path).contents.entries}


def check_only_zeros(before: Path, after: Path, result: Compression) -> None:
    """Tensors that were compressed differ by zeros in place of weights, and by as many as the report says; no other differs."""
    old, new = sent(before), sent(after)
    assert list(old) == list(new)
    compressed = {tensor.name: tensor for tensor in result.tensors if tensor.treatment == "compress"}
    assert compressed
    for name in old:
        if name not in compressed:
            assert old[name] == new[name], name
            continue
        width = len(old[name]) // int(np.prod(compressed[name].shape))
        was, now = (np.frombuffer(data[name], f"u{width}") for data in (old, new))
        cut = was != now
        assert cut.any(), name
        assert not now[cut].any(), name
        assert np.count_nonzero(now) == compressed[name].allocation.kept, name
