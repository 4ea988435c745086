"""Whether a node takes a block on: reservation, services and operands, amounts, inputs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_node.domain.errors import DeadlineError, ExhaustedError, InvalidBlockError, RejectedError
from qmesh_node.domain.tableau import MAX_STABILIZER, packed_bytes, tableau_bytes
from qmesh_node.domain.token import TokenChecker

LONGEST_KEPT_SECONDS = 24 * 3600.0
_DEFAULT_KEPT_SECONDS = 60.0
_WORD = 1 << 63


@dataclass(frozen=True, slots=True)
class Offer:
    """What a node offers of one service; an empty gate set means every gate of the service."""

    qubit_min: int = 1
    qubit_max: int = 1000
    gate_set: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a node takes on at all."""

    dense_qubits: int = 22
    stabilizer_qubits: int = MAX_STABILIZER
    max_shots: int = 1_000_000
    max_operations: int = 60_000
    factor_bytes: int = 64 << 20


class Admission:
    """The rules of one node."""

    def __init__(
        self, node_id: str, tokens: TokenChecker, offers: Mapping[str, Offer], limits: Limits
    ) -> None:
        """Takes who the node is and what it offers."""
        self._node_id = node_id
        self._tokens = tokens
        self._offers = offers
        self._limits = limits

    def check(self, request: gate.ExecuteRequest, now: float) -> None:
        """Refuses a block that the node does not take on.

        Raises:
            InvalidBlockError, RejectedError, ExhaustedError, DeadlineError: it does not.
        """
        self._check_amounts(request)
        if request.deadline and request.deadline < now:
            raise DeadlineError("the deadline passed before the work began")
        claims = self._tokens.check(
            request.reservation_token,
            job_id=request.job_id,
            node_id=self._node_id,
            fence=request.fence,
            now=now,
        )
        if claims.tenant_id != request.tenant_id:
            raise RejectedError("the reservation token is for another tenant")
        self._check_services(request, frozenset(claims.service_types))
        for component in request.inputs:
            self._check_input(component.ref, request)

    def _check_amounts(self, request: gate.ExecuteRequest) -> None:
        limits, shots = self._limits, request.shots
        if not 0 < shots.count <= limits.max_shots or shots.first + shots.count > _WORD:
            raise InvalidBlockError(f"{shots.count} shots are outside 1 to {limits.max_shots}")
        if len(request.operations) > limits.max_operations:
            raise InvalidBlockError(f"{len(request.operations)} operations are too many for one block")
        if not all(math.isfinite(x) for x in (request.deadline, request.keep_until, request.min_fidelity)):
            raise InvalidBlockError("a time or the least fidelity is not finite")
        if not request.execution_id or not request.job_id:
            raise InvalidBlockError("the block names no execution or no job")

    def _check_services(self, request: gate.ExecuteRequest, reserved: frozenset[str]) -> None:
        wires: dict[int, set[int]] = defaultdict(set)
        for operation in request.operations:
            service = operation.service_type
            offer = self._offers.get(service)
            if offer is None or service not in reserved:
                raise RejectedError(f"service {service[:64]!r} is not offered here, or not reserved")
            if offer.gate_set and operation.name not in offer.gate_set:
                raise RejectedError(f"{operation.name[:64]!r} is not in the gate set of {service!r}")
            wires[operation.fragment].update(operation.wires)
            if len(wires[operation.fragment]) > offer.qubit_max:
                raise RejectedError(f"service {service!r} takes at most {offer.qubit_max} operands here")
        for operation in request.operations:
            offer = self._offers[operation.service_type]
            if len(wires[operation.fragment]) < offer.qubit_min:
                raise RejectedError(
                    f"service {operation.service_type!r} takes at least {offer.qubit_min} operands here"
                )

    def _check_input(self, ref: state.ComponentRef, request: gate.ExecuteRequest) -> None:
        precision = request.precision or state.PRECISION_DOUBLE
        if ref.id.job_id != request.job_id or ref.shots != request.shots or ref.precision != precision:
            raise InvalidBlockError("an input is of another job, other shots or another precision")
        if not ref.wires or len(set(ref.wires)) != len(ref.wires) or not ref.digest or not ref.rows:
            raise InvalidBlockError("an input names no wires, rows or digest, or one wire twice")
        stabilizer = ref.executor == state.EXECUTOR_KIND_STABILIZER
        limit = self._limits.stabilizer_qubits if stabilizer else self._limits.dense_qubits
        if len(ref.wires) > limit:
            raise ExhaustedError(
                f"an input of {len(ref.wires)} qubits is above this node's {'' if stabilizer else 'dense '}limit of {limit}"
            )
        if ref.rows > ref.shots.count or ref.bytes != bytes_of(ref):
            raise InvalidBlockError("an input's size does not fit its wires, rows and shots")


def dtype_of(precision: state.Precision.ValueType) -> type[np.complexfloating]:
    """Type of the amplitudes."""
    return np.complex64 if precision == state.PRECISION_SINGLE else np.complex128


def bytes_of(ref: state.ComponentRef) -> int:
    """Size that a version's wires, rows and shots ask for."""
    if ref.executor == state.EXECUTOR_KIND_STABILIZER:
        return packed_bytes(len(ref.wires), ref.rows) + 4 * ref.shots.count
    return (np.dtype(dtype_of(ref.precision)).itemsize * ref.rows << len(ref.wires)) + 4 * ref.shots.count


def held_bytes(ref: state.ComponentRef) -> int:
    """Bytes of memory that a version takes; a tableau is packed only when it travels."""
    if ref.executor != state.EXECUTOR_KIND_STABILIZER:
        return bytes_of(ref)
    return tableau_bytes(len(ref.wires), ref.rows) + 4 * ref.shots.count


def kept_until(request: gate.ExecuteRequest, now: float) -> float:
    """When the versions of a block may be forgotten: as asked, at most a day from now."""
    return min(request.keep_until or now + _DEFAULT_KEPT_SECONDS, now + LONGEST_KEPT_SECONDS)
