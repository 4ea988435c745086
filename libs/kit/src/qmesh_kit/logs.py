"""Structured logs: JSON lines on stderr, secrets redacted, foreign text escaped."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO

import orjson
import structlog

from qmesh_kit.trace import current

_SECRET = re.compile(
    r"(token|secret|password|passwd|api_?key|authorization|credential|private|seed_key|creds)", re.IGNORECASE
)
_CREDENTIALS = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/?#@:]*:)[^\s/?#@]+@", re.IGNORECASE), r"\1[redacted]@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), r"\1 [redacted]"),
)
_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LONGEST = 256
_TRACE = 4096
_MOST = 65_536  # characters of a value that are looked at


def escape(text: str, longest: int = _LONGEST) -> str:
    """Text without credentials, control, ANSI or bidi characters, cut to a length."""
    shown = text[:_MOST]
    for pattern, safe in _CREDENTIALS:
        shown = pattern.sub(safe, shown)
    shown = _HOSTILE.sub(lambda m: f"\\u{ord(m.group()):04x}", shown[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


def _clean(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return escape(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return escape(value[:64].hex())
    if depth < 2 and isinstance(value, dict):  # noqa: PLR2004 - deeper values are shown as text
        return {
            str(k): "[redacted]" if _SECRET.search(str(k)) else _clean(v, depth + 1) for k, v in value.items()
        }
    if depth < 2 and isinstance(value, list | tuple | set | frozenset):  # noqa: PLR2004 - as above
        return [_clean(v, depth + 1) for v in list(value)[:32]]
    return escape(str(value))


def _scrub(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redacts by key and escapes values."""
    for key, value in list(event.items()):
        if key == "exception":
            trace = str(value).replace("\n", " | ")
            event[key] = escape(trace[-_MOST:], _MOST)[-_TRACE:]  # the cause stands at its end
        elif _SECRET.search(key):
            event[key] = "[redacted]"
        else:
            event[key] = _clean(value)
    return event


def _context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds tenant, request and trace of the call in progress."""
    context = current()
    if context is not None:
        event.setdefault("request_id", context.request_id)
        event.setdefault("trace_id", context.trace_id)
        if context.tenant_id:
            event.setdefault("tenant_id", context.tenant_id)
    return event


class _Routed(logging.Handler):
    """Routes the standard library's records into structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger().bind(logger=record.name)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        log.log(record.levelno, message, **({"error": repr(error)} if error is not None else {}))


def configure(service: str, *, level: str = "info", stream: TextIO | None = None) -> None:
    """Sets logging up for a process; a console form only at a terminal."""
    out = stream or sys.stderr
    renderer: Any = structlog.processors.JSONRenderer(
        serializer=lambda value, **_: orjson.dumps(value).decode()
    )
    if out.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _context,
            structlog.processors.format_exc_info,
            _scrub,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    root = logging.getLogger()
    root.handlers[:] = [_Routed()]
    root.setLevel(max(logging.WARNING, getattr(logging, level.upper())))
    log = structlog.get_logger(service=service)

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("uncaught exception", exc_info=(kind, error, trace))

    sys.excepthook = hook
    threading.excepthook = lambda a: hook(a.exc_type, a.exc_value or a.exc_type(), a.exc_traceback)


def get(**bound: Any) -> Any:
    """A logger."""
    return structlog.get_logger(**bound)
