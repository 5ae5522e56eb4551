"""A disk that is full, for tests."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(size):
    """No file grows beyond this: as on a full disk, a write fails in its middle, here with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
