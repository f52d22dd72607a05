"""How the GPU kernels fare on a card: tested, measured and written down in docs/gpu_results.md.

    cases      lists of tensors that one launch serves
    actions    what is measured, and by what it is measured
    turns      medians of actions that take turns; the device's own account of one
    agreement  are the bytes and sums those of the CPU?
    rates      one case from beginning to end, in a process of its own
    parts      such processes, with a limit of time, whatever becomes of them
    results    docs/gpu_results.md and .json

It needs torch, Triton, numpy, numba, pytest and hypothesis, and nothing else: `make gpu PYTHON=python3` runs it with any Python
that has them. `--interpreted` needs no card either: tiny sizes, to see that everything runs.
"""
