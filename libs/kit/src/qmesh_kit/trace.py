"""Who asks, under which request, until when: the context that travels with a call.

Responsible for the context variable and its text forms (W3C Trace Context level 1, ``traceparent``). It records no spans.
"""

from __future__ import annotations

import contextvars
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

REQUEST_ID = "qmesh-request-id"
TENANT = "qmesh-tenant"
PRINCIPAL = "qmesh-principal"
TRACEPARENT = "traceparent"

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAFE = re.compile(r"[A-Za-z0-9._:@/+-]{1,128}")


def _new_trace() -> str:
    return secrets.token_hex(16)


def _new_span() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What is known of the call in progress."""

    request_id: str = field(default_factory=_new_trace)
    tenant_id: str = ""
    principal: str = ""
    trace_id: str = field(default_factory=_new_trace)
    span_id: str = field(default_factory=_new_span)
    sampled: bool = False
    deadline: float | None = None
    """On the clock of `time.monotonic`; None when nobody waits."""

    @property
    def traceparent(self) -> str:
        """The W3C header value."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def carrier(self) -> dict[str, str]:
        """The context as headers or metadata for the next hop."""
        found = {REQUEST_ID: self.request_id, TRACEPARENT: self.traceparent}
        if self.tenant_id:
            found[TENANT] = self.tenant_id
        if self.principal:
            found[PRINCIPAL] = self.principal
        return found


_CURRENT: contextvars.ContextVar[RequestContext | None] = contextvars.ContextVar(
    "qmesh_request", default=None
)


def current() -> RequestContext | None:
    """The context of the call in progress."""
    return _CURRENT.get()


def extract(carrier: Mapping[str, str], *, deadline: float | None = None) -> RequestContext:
    """The context that a caller sent; anything malformed is replaced, never passed on."""
    trace = _TRACEPARENT.fullmatch(carrier.get(TRACEPARENT, ""))
    found = RequestContext(
        request_id=_safe(carrier.get(REQUEST_ID)) or _new_trace(),
        tenant_id=_safe(carrier.get(TENANT)),
        principal=_safe(carrier.get(PRINCIPAL)),
        deadline=deadline,
    )
    if trace is None or trace[1] == "0" * 32 or trace[2] == "0" * 16:
        return found
    return replace(found, trace_id=trace[1], sampled=bool(int(trace[3], 16) & 1))


@contextmanager
def using(context: RequestContext) -> Iterator[RequestContext]:
    """Makes `context` the current one inside the block."""
    token = _CURRENT.set(context)
    try:
        yield context
    finally:
        _CURRENT.reset(token)


def activate(context: RequestContext) -> None:
    """Makes `context` the current one for the rest of this task (each call has a task of its own)."""
    _CURRENT.set(context)


def _safe(value: str | None) -> str:
    return value if value is not None and _SAFE.fullmatch(value) else ""
