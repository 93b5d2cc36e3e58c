"""The error that everything in data raises for files and values that cannot be used: its message names them."""


class InvalidInput(ValueError):
    """An input that the user can mend. Any other error is a mistake in code."""
