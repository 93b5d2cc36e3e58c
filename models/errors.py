"""The error that models raise for arguments outside what is allowed: the message says what was given, and what is."""


class InvalidArgument(ValueError):
    """An argument that the caller can mend. Any other error is a mistake in code."""
