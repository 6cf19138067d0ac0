"""With what status a command ends that does not end well; README.md tells users."""

FAILED = 1
WRONG_USE = 2
INCOMPLETE = 3
"""A source was understood, but something of it was missing or unusable."""
