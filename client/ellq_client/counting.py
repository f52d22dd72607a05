"""Counts in sentences."""


def counted(count: int, noun: str) -> str:
    """Return a count and what is counted: "1 neuron", "2 neurons". For nouns that take an s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
