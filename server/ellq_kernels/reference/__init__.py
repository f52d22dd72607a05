"""The reference maker: torch, plain and slow, on CPU or CUDA. What the other makers are tested against."""
