"""The error that ends an operator command."""


class CommandError(Exception):
    """A command could not run and changed nothing.

    The message is one line that names the cause and the remedy.
    """
