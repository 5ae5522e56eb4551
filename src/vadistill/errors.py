"""The one exception that a user is meant to read, and what it quotes of others."""


class InputError(Exception):
    """A bad input: one line that names the file, key or clip and says what was expected.

    Stages print it without a traceback and exit with status 1.
    """


def in_one_line(error: BaseException) -> str:
    """Return the message of any error in one line, or its name where it says nothing."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
