"""Checkpoints of gigabytes through the command line: memory, time told and time taken, kills at random moments."""
