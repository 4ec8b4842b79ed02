"""Why a command of the operator's could not do its work."""


class CommandError(Exception):
    """Nothing was done. The message is one line that names what is wrong and what would be right."""
