"""What the docs say of speed and memory, measured: every ratio is of two things that took turns in one run.

    scales        how much is measured: full, quick, tiny
    checkpoints   safetensors files of random weights
    procfs        processor time and memory of a process
    servers       `ellq serve`, and the bare gRPC server (bare_server) that shows what the wire can do
    callers       client processes (caller, jobs) that do one job after the other
    duels         things that take turns, and their ratio
    wire, memory, soak, small, growth    one section each; kernels and gpu stand beside this package
    records       what is written down, and on which machine
    targets       what was promised, held against the records
    capacity      what large models take, computed from the records
    tables        records as Markdown, docs/performance.md among it

Run it with `python -m tests.benchmarks.bench`; it takes what it needs from the extras `server` and `dev`.
"""
