"""Exit codes of the command line."""

from enum import IntEnum


class Exit(IntEnum):
    """What a command's end says."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    CONFIG = 78
