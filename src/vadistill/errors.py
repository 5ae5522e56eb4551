"""The one exception that a user is meant to read."""


class InputError(Exception):
    """A bad input: one line that names the file, key or clip and says what was expected.

    Stages print it without a traceback and exit with status 1.
    """
