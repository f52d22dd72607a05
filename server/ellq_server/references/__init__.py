"""Checkpoints by reference: the server reads and writes objects of stores itself, where its settings say that it may."""
