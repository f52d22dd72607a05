"""Whole networks: how errors of weights travel to the outputs, and which weights the outputs feel least."""
