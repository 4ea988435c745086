"""Comparisons that runtimes ask for: factors of an ideal state with a version that the store holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import trio

from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric.errors import FabricError
from qmesh_node.adapters.held import held
from qmesh_node.domain.admission import Limits
from qmesh_node.domain.errors import BlockError, ExhaustedError, InvalidBlockError, StaleClaimError
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.overlap import overlaps, working_bytes
from qmesh_node.domain.store import Version, VersionStore

_CODES: dict[type[BlockError], str] = {
    StaleClaimError: "STALE_CLAIM",
    ExhaustedError: "RESOURCE_EXHAUSTED",
    InvalidBlockError: "INVALID_ARGUMENT",
}
_COMPUTED_HERE = 1 << 16
"""Amplitudes above which a thread compares, so that the node stays on the network."""


class VersionComparison:
    """One admitted comparison; satisfies the fabric's `Comparison`."""

    def __init__(self, find: Callable[[], Version], terms: int) -> None:
        """Takes how the version is found, again when the factors are there, and the number of factors."""
        self._find = find
        self._terms = terms
        self.size = 16 * terms << len(find().component.wires)

    async def answer(self, factors: bytearray) -> tuple[int, Sequence[memoryview]]:
        """Number of rows, overlaps and row_of_shot."""
        component = self._find().component
        vectors = np.frombuffer(factors, dtype=np.complex128).reshape(self._terms, -1)
        work = partial(overlaps, component, vectors)
        large = component.rows * vectors.size > _COMPUTED_HERE
        try:
            made = await trio.to_thread.run_sync(work) if large else work()
        except BlockError as error:
            raise _refusal(error) from None
        return component.rows, [made.data, component.row_of_shot.data]


class OpenedOverlaps:
    """Admits comparisons of what the store holds."""

    def __init__(self, store: VersionStore, memory: Memory, limits: Limits) -> None:
        """Takes what is held, the memory that a comparison takes its room from, and the node's limits."""
        self._store = store
        self._memory = memory
        self._limits = limits

    @contextmanager
    def admit(self, _peer_id: str, request: state.OverlapRequest) -> Iterator[VersionComparison]:
        """Admits a comparison for a runtime (the protocol is served to nobody else) whose fence is not below the job's.

        Raises:
            FabricError: it is not admitted, or the version is not here.
        """
        find = partial(self._find, request)
        component, terms = find().component, request.terms
        if list(component.wires) != list(request.wires):
            raise FabricError("INVALID_ARGUMENT", "the factors are over other wires than the version")
        room = self._memory.workspace()
        try:
            self._check(len(component.wires), terms)
            room.resize(0, working_bytes(component, terms))
            yield VersionComparison(find, terms)
        except BlockError as error:
            raise _refusal(error) from None
        finally:
            room.close()

    def _check(self, qubits: int, terms: int) -> None:
        if not terms:
            raise InvalidBlockError("there are no factors")
        if qubits > self._limits.dense_qubits:
            raise ExhaustedError(f"factors of {qubits} qubits are above this node's dense limit")
        size = 16 * terms << qubits
        if size > self._limits.factor_bytes:
            raise ExhaustedError(f"factors of {size} bytes are above {self._limits.factor_bytes}")

    def _find(self, request: state.OverlapRequest) -> Version:
        try:
            self._store.check_fence(request.id.job_id, request.fence)
        except StaleClaimError as error:
            raise _refusal(error) from None
        return held(self._store, request.id, request.digest)


def _refusal(error: BlockError) -> FabricError:
    return FabricError(_CODES.get(type(error), "INTERNAL"), error.message)
