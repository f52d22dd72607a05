"""What packed shards are called in a folder: by a name under which no loader looks for weights."""

_DENSE, _PACKED = ".safetensors", ".packed.safetensors"


def packed_name(name: str) -> str:
    """Return the name of the packed form of a shard: x.safetensors becomes x.packed.safetensors."""
    return name.removesuffix(_DENSE) + _PACKED


def dense_name(name: str) -> str:
    """Return the name of the shard of which this is the packed form; a packed file of another name keeps its own."""
    return name.removesuffix(_PACKED) + _DENSE if name.endswith(_PACKED) else name


def stored_name(name: str, encoding: str) -> str:
    """Return what a shard is called in an output of this encoding."""
    return packed_name(name) if encoding == "packed" else name
