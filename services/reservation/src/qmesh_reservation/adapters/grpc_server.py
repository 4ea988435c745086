"""ReservationService over gRPC."""

from __future__ import annotations

from typing import Any

from qmesh.reservation.v1 import reservation_pb2 as pb
from qmesh.reservation.v1 import reservation_pb2_grpc as stubs
from qmesh_reservation.application import ReservationService


class ReservationServicer(stubs.ReservationServiceServicer):
    """Translates messages; decides nothing."""

    def __init__(self, service: ReservationService) -> None:
        """Takes the use cases."""
        self._service = service

    async def Reserve(self, request: pb.ReserveRequest, context: Any) -> pb.ReserveResponse:  # noqa: N802
        """Prepares and commits all lines in one transaction."""
        return pb.ReserveResponse(reservations=await self._service.reserve(request))

    async def MarkExecuted(self, request: pb.MarkExecutedRequest, context: Any) -> pb.MarkExecutedResponse:  # noqa: N802
        """Marks as used."""
        ended = await self._service.end(
            request.caller.tenant_id, request.job_id, list(request.reservation_ids), "EXECUTED"
        )
        return pb.MarkExecutedResponse(changed=len(ended))

    async def Cancel(self, request: pb.CancelRequest, context: Any) -> pb.CancelResponse:  # noqa: N802
        """Gives back."""
        ended = await self._service.end(
            request.caller.tenant_id,
            request.job_id,
            list(request.reservation_ids),
            "CANCELED",
            request.reason,
        )
        return pb.CancelResponse(reservations=ended)

    async def Extend(self, request: pb.ExtendRequest, context: Any) -> pb.ExtendResponse:  # noqa: N802
        """Extends, also for a new owner of the job."""
        found = await self._service.extend(
            request.caller.tenant_id, request.job_id, request.fence, request.ttl_ms
        )
        return pb.ExtendResponse(reservations=found)

    async def GetReservation(  # noqa: N802
        self, request: pb.GetReservationRequest, context: Any
    ) -> pb.GetReservationResponse:
        """One reservation."""
        found = await self._service.get(request.caller.tenant_id, request.reservation_id)
        found.ClearField("token")
        return pb.GetReservationResponse(reservation=found)

    async def ListReservations(  # noqa: N802
        self, request: pb.ListReservationsRequest, context: Any
    ) -> pb.ListReservationsResponse:
        """Live reservations."""
        found, usage = await self._service.live(request.caller.tenant_id, request.job_id, request.node_id)
        return pb.ListReservationsResponse(reservations=found, usage=usage)

    async def GetTokenKeys(self, request: pb.GetTokenKeysRequest, context: Any) -> pb.GetTokenKeysResponse:  # noqa: N802
        """Keys of tokens."""
        return pb.GetTokenKeysResponse(public_keys=self._service.public_keys())
