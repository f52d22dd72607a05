"""What the error of a network can be measured by."""

from enum import Enum


class Grade(Enum):
    """A kind of certificate, with the names of the contract."""

    BOX = "box"
    """At every input in the box, each value for itself."""
    BALL = "ball"
    """At every input in the ball."""
    MEAN_SQUARE = "mean_square"
    """Root mean square over the distribution of the moments."""
