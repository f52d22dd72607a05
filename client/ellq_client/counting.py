"""Numbers of things, as tables and sentences write them."""


def grouped(number: int) -> str:
    """Return a number in groups of three digits: "1 234 567"."""
    return f"{number:,}".replace(",", " ")


def counted(count: int, noun: str) -> str:
    """Return a count and what is counted: "1 neuron", "2 000 neurons". For nouns that take an s."""
    return f"{grouped(count)} {noun}{'' if count == 1 else 's'}"


def counted_of(count: int, whole: int, noun: str) -> str:
    """Return how many of how many: "1 of 2 000 neurons"."""
    return f"{grouped(count)} of {counted(whole, noun)}"
