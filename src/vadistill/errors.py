"""The one exception that a user is meant to read, and what it quotes of others."""

import unicodedata

# Control characters, line breaks, and the surrogates by which Python stands for bytes that are not UTF-8.
UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


class InputError(Exception):
    """A bad input: one line that names the file, key or clip and says what was expected.

    Stages print it without a traceback and exit with status 1.
    """


def printable(text: str) -> str:
    """Return text in one line that any terminal and any log takes: other characters stand as escapes of Python."""
    return "".join(char if unicodedata.category(char) not in UNPRINTABLE else ascii(char)[1:-1] for char in text)


def in_one_line(error: BaseException) -> str:
    """Return the message of any error in one line, or its name where it says nothing."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
