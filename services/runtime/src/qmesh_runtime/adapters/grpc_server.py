"""JobService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from qmesh.runtime.v1 import runtime_pb2 as pb
from qmesh.runtime.v1 import runtime_pb2_grpc as stubs
from qmesh_runtime.application.jobs import LARGE, Jobs

_PAGE = 500


class JobServicer(stubs.JobServiceServicer):
    """Translates messages; decides nothing."""

    def __init__(self, jobs: Jobs) -> None:
        """Takes the use cases."""
        self._jobs = jobs

    async def Submit(self, request: pb.SubmitRequest, context: Any) -> pb.SubmitResponse:  # noqa: N802
        """Makes a job durable."""
        return await self._jobs.submit(request)

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:  # noqa: N802
        """One job."""
        return pb.GetJobResponse(job=await self._jobs.get(request))

    async def GetResult(  # noqa: N802
        self, request: pb.GetResultRequest, context: Any
    ) -> AsyncIterator[pb.GetResultResponse]:
        """A result document of any size."""
        document = await self._jobs.result(request)
        for at in range(0, len(document), LARGE):
            yield pb.GetResultResponse(piece=document[at : at + LARGE])

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:  # noqa: N802
        """Jobs of a tenant."""
        return await self._jobs.page(request)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:  # noqa: N802
        """Asks for the end of a job."""
        return pb.CancelJobResponse(job=await self._jobs.cancel(request))

    async def Events(self, request: pb.EventsRequest, context: Any) -> AsyncIterator[pb.EventsResponse]:  # noqa: N802
        """History; live events come by NATS."""
        found, final = await self._jobs.events(request)
        pages = [found[at : at + _PAGE] for at in range(0, len(found), _PAGE)] or [[]]
        for number, page in enumerate(pages):
            yield pb.EventsResponse(events=page, final=final and number == len(pages) - 1)

    async def GetShots(self, request: pb.GetShotsRequest, context: Any) -> AsyncIterator[pb.GetShotsResponse]:  # noqa: N802
        """Per-shot data."""
        columns, shots = await self._jobs.shots(request)
        for bit, column in sorted(columns.items()):
            yield pb.GetShotsResponse(bit=bit, column=column, shots=shots)
