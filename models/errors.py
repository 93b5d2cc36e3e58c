"""The errors that models raise: an argument outside what is allowed, and numbers that are not finite."""


class InvalidArgument(ValueError):
    """An argument that the caller can mend; the message says what is allowed. Others are mistakes in code."""


class NotFiniteError(ValueError):
    """A loss or a gradient is not finite."""


class NoGradientError(ValueError):
    """No gradient reaches a layer that has something to learn."""
