"""The error that data raises for files and values that cannot be used. Its message names them, and says why."""


class InvalidInput(ValueError):
    """An input that the user can mend. Any other error is a mistake in code."""
