"""What a safetensors header is made of, and what in it is weights. Server, client and verifier go by the same words.

Format: https://huggingface.co/docs/safetensors.
"""

LENGTH_BYTES = 8
"""Bytes that tell the length of the JSON text that follows them, little-endian."""

METADATA = "__metadata__"
"""The key of a header that is no tensor."""

PACKED_FORMAT = "ellq-packed"
"""What `format` of the metadata says in a packed file (docs/packed.md), whose tensors are no weights until it is unpacked."""

DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Every dtype of safetensors 0.8, with the bits of one element."""

FLOAT8 = ("F8_E4M3", "F8_E5M2")
"""The dtypes of 8 bits that are compressed, at their real values."""

COMPRESSIBLE_DTYPES = ("F64", "F32", "F16", "BF16", *FLOAT8)
"""The dtypes that are weights; tensors of any other pass through."""

TABLE_NAMES = ("*embed*", "*wte.*", "*wpe.*", "*lm_head*")
"""Globs of names of tables of rows (embeddings and their transposed twins), which the service leaves alone unless included."""
