"""The study: what compression does to trained networks, beside what the certificates promise.

    data          real images and tables, from packages
    models        small networks trained on them
    subjects      one trained network with all that is known of its inputs
    trials        what is tried on each
    measuring     a network run in float64, and what rounding explains
    statements    every promise beside what it promises about
    baselines     the textbook bound that certificates are compared with
    runs          each trial through the service, and what came of it
    duels         the error budget against uniform magnitude at the same certificate
    records       what is written down
    samples, tables, plots, page    what docs/degradation.md shows of it

Run it with `python -m tests.benchmarks.degradation`; it takes what it needs from the extra `dev`.
"""
