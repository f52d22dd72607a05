"""Indices, keep counts, bounds and certificates: numbers in, numbers out."""
