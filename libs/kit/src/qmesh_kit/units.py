"""Durations and sizes with units, as annotated types for settings.

Responsible for parsing only; what a value means is the business of the setting that carries it.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s?([A-Za-zµ]+)")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_LONGEST = 366 * 86400.0
_LARGEST = 2**53


def parse_duration(value: object) -> float:
    """Seconds of a text such as ``250ms``, ``2s``, ``5m``, ``1h`` or ``1d``.

    >>> parse_duration("250ms")
    0.25

    Raises:
        ValueError: it has no unit, another unit, or is longer than 366 days.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _SECONDS:
        raise ValueError("should be a duration with a unit, for example 250ms, 2s, 5m or 1h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not math.isfinite(seconds) or seconds > _LONGEST:
        raise ValueError("should be at most 366d")
    return seconds


def parse_size(value: object) -> int:
    """Bytes of a text such as ``64KiB``, ``4MiB`` or ``10MB``.

    >>> parse_size("64KiB")
    65536

    Raises:
        ValueError: it has no unit, another unit, or is not a whole number of bytes.
    """
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _BYTES:
        raise ValueError("should be a size with a unit, for example 64KiB, 4MiB or 10MB")
    exact = float(match[1]) * _BYTES[match[2]]
    if exact > _LARGEST or not exact.is_integer():
        raise ValueError("should be a whole number of bytes, at most 8192TiB")
    return int(exact)


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds; written with a unit."""

Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes; written with a unit."""
