"""The one exception that users can cause."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one line that names the file, the item and the mend; a tool
    prints it and exits with status 1, without a traceback.
    """
