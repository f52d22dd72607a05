"""Checkpoints that are a folder: shards with their index, and everything that lies beside them."""
