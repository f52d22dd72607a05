"""Recomputes every claim of a report from the two files alone: no server, no torch, no trust."""

from ellq_client.verifying.verify import Verification, verify

__all__ = ["Verification", "verify"]
