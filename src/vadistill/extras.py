"""Optional packages: one line that says which extra of pyproject.toml to install where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from vadistill.errors import InputError, in_one_line


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import optional packages in this block; a failing import says which extra brings them.

    Args:
        name: Of the extra, a key of ``project.optional-dependencies`` in pyproject.toml.

    Raises:
        InputError: A package is missing, or is there and does not load.
    """
    remedy = f"install vadistill with its extra '{name}' (in its folder: pip install '.[{name}]')"
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"the package {error.name} is missing; {remedy}") from error
    except ImportError as error:
        raise InputError(f"a package of the extra '{name}' does not load ({in_one_line(error)}); {remedy}") from error


def installed(package: str) -> bool:
    """Return whether an optional package is there; it is not imported."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
