"""The error that data raises for files and values that cannot be used: the message says what was given, and why."""


class InvalidInput(ValueError):
    """An input that the user can mend. Any other error is a mistake in code."""
