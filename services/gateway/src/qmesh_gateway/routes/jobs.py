"""GET /jobs, /jobs/{id}, its events and shots; POST /jobs/{id}/cancel."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.events.v1 import events_pb2 as events
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_gateway.answers import JsonResponse
from qmesh_gateway.domain import documents
from qmesh_gateway.domain.problems import ProblemError
from qmesh_gateway.state import caller_of, state_of
from qmesh_kit.errors import ServiceError

router = APIRouter(prefix="/jobs", tags=["jobs"])

Caller = Annotated[caller.Caller, Depends(caller_of)]
Status = Literal["QUEUED", "COMPILING", "RESERVING", "EXECUTING", "COMPLETED", "FAILED", "CANCELED"]
_SEQUENCE = re.compile(r"[0-9]{1,18}")
_DETAIL = {
    "full": runtime.RESULT_DETAIL_FULL,
    "summary": runtime.RESULT_DETAIL_SUMMARY,
    "none": runtime.RESULT_DETAIL_UNSPECIFIED,
}


def known_id(value: str, what: str = "job") -> str:
    """An id in canonical form.

    Raises:
        ProblemError: 404; nothing can have this id.
    """
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise ProblemError(404, "NOT_FOUND", f"there is no {what} with this id") from None


@router.get("", operation_id="listJobs")
async def list_jobs(
    request: Request,
    who: Caller,
    status: Annotated[list[Status] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> JsonResponse:
    """Jobs, newest first."""
    state = state_of(request)
    message = runtime.ListJobsRequest(
        caller=who,
        statuses=[events.JobStatus.Value(f"JOB_STATUS_{name}") for name in status or []],
        limit=limit,
        cursor=cursor,
    )
    answer = await state.clients.runtime.ListJobs(message, timeout=state.clients.timeout)
    headers = {}
    if answer.next_cursor:
        query = urlencode({"limit": limit, "cursor": answer.next_cursor, "status": status or []}, doseq=True)
        headers["link"] = f'</api/v1/jobs?{query}>; rel="next"'
    return JsonResponse(
        {
            "jobs": [documents.job(job, result=False) for job in answer.jobs],
            "next_cursor": answer.next_cursor or None,
        },
        headers=headers,
    )


@router.get("/{job_id}", operation_id="getJob")
async def get_job(
    request: Request,
    job_id: str,
    who: Caller,
    result_detail: Literal["full", "summary", "none"] = "full",
) -> JsonResponse:
    """One job with its result."""
    state = state_of(request)
    message = runtime.GetJobRequest(caller=who, job_id=known_id(job_id), detail=_DETAIL[result_detail])
    return JsonResponse(documents.job(await state.clients.job(message)))


@router.post("/{job_id}/cancel", operation_id="cancelJob")
async def cancel_job(request: Request, job_id: str, who: Caller) -> JsonResponse:
    """Asks for the end of a job; 409 when it has already ended."""
    state = state_of(request)
    message = runtime.CancelJobRequest(caller=who, job_id=known_id(job_id))
    answer = await state.clients.runtime.CancelJob(message, timeout=state.clients.timeout)
    return JsonResponse(documents.job(answer.job, result=False))


@router.get("/{job_id}/shots", operation_id="getShots")
async def get_shots(
    request: Request, job_id: str, who: Caller, parameter_set: Annotated[int, Query(ge=0, le=999)] = 0
) -> JsonResponse:
    """Packed bit columns: one bit a shot, least significant bit of the first byte first, base64."""
    state = state_of(request)
    message = runtime.GetShotsRequest(caller=who, job_id=known_id(job_id), parameter_set=parameter_set)
    columns: list[dict[str, object]] = []
    shots = 0
    async for part in state.clients.runtime.GetShots(message, timeout=state.clients.timeout):
        shots = part.shots
        columns.append({"bit": part.bit, "column": base64.b64encode(part.column).decode("ascii")})
    return JsonResponse({"job_id": message.job_id, "shots": shots, "columns": columns})


@router.get(
    "/{job_id}/events",
    operation_id="streamJobEvents",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events as they happen."}},
)
async def stream_events(
    request: Request, job_id: str, who: Caller, after: Annotated[int, Query(ge=0, lt=2**63)] = 0
) -> StreamingResponse:
    """Every event of a job above a sequence, without gaps; resume with `after` or `Last-Event-ID`."""
    state = state_of(request)
    known = known_id(job_id)
    resume = request.headers.get("last-event-id", "")
    first = int(resume) if _SEQUENCE.fullmatch(resume) else after
    stream = state.live.stream(who, known, first)
    begin = await anext(stream, None)  # a job that is not there is a 404, not a stream
    return StreamingResponse(
        _frames(begin, stream),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _frames(
    begin: events.JobEvent | None, rest: AsyncIterator[events.JobEvent | None]
) -> AsyncIterator[bytes]:
    yield b"retry: 500\n\n" + _frame(begin)
    try:
        async for event in rest:
            yield _frame(event)
    except ServiceError as error:
        # the answer has begun: the stream ends here, and its reader resumes where it was
        yield b": interrupted, %s\n\n" % error.code.encode()


def _frame(event: events.JobEvent | None) -> bytes:
    if event is None:
        return b": still here\n\n"
    return b"id: %d\nevent: job\ndata: %s\n\n" % (event.sequence, orjson.dumps(documents.event(event)))
