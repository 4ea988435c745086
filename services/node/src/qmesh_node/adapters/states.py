"""Versions that cross the network: pulled from their holders, and opened for peers that may have them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import structlog
import trio

from qmesh.fabric.v1 import state_pb2 as state
from qmesh_fabric.errors import FabricError, PeerGone, RemoteError
from qmesh_fabric.host import Host
from qmesh_fabric.state import pull
from qmesh_node.adapters.held import held
from qmesh_node.domain.admission import bytes_of, dtype_of
from qmesh_node.domain.ensemble import Ensemble, RowOfShot
from qmesh_node.domain.errors import RejectedError, StaleClaimError
from qmesh_node.domain.store import Key, VersionStore, key_of
from qmesh_node.domain.tableau import Part, Tableau, unpacked
from qmesh_node.domain.token import TokenChecker

log = structlog.get_logger()

_CHECKED_HERE = 1 << 20
_NORM_TOLERANCE = 1e-3  # what single precision loses in thousands of gates


class PulledStates:
    """Versions from their holders; concurrent pulls of one version are one transfer."""

    def __init__(self, host: Host) -> None:
        """Takes the host."""
        self._host = host
        self._running: dict[tuple[Key, bytes], tuple[trio.Event, list[Part]]] = {}

    async def pull(
        self, ref: state.ComponentRef, addresses: Sequence[str], token: bytes, deadline: float
    ) -> Part:
        """The version that a reference names."""
        key = (key_of(ref.id), ref.digest)  # equal states of different versions have equal digests
        known = self._running.get(key)
        if known is not None:
            await known[0].wait()
            if known[1]:
                return known[1][0]
        entry: tuple[trio.Event, list[Part]] = (trio.Event(), [])
        self._running[key] = entry
        try:
            with trio.fail_after(max(0.1, deadline - time.time())):
                _, data, rows_bytes = await pull(self._host, ref, addresses, token=token, limit=ref.bytes)
            made = partial(component_of, ref, data, rows_bytes)
            component = await trio.to_thread.run_sync(made) if len(data) > _CHECKED_HERE else made()
            entry[1].append(component)
        except (PeerGone, RemoteError, LookupError, trio.TooSlowError) as error:
            log.warning("an input could not be pulled", holder=ref.holder, error=repr(error))
            raise LookupError(ref.holder) from None
        finally:
            entry[0].set()
            self._running.pop(key, None)
        return component


def component_of(ref: state.ComponentRef, data: bytearray, rows_bytes: int) -> Part:
    """The component that a version's bytes are; a holder may lie, so that nothing of them is believed.

    Raises:
        LookupError: they are not what the reference says, or no normalised states.
    """
    if rows_bytes != bytes_of(ref) - 4 * ref.shots.count or len(data) != bytes_of(ref):
        raise LookupError(f"{ref.holder} sent another size")
    if ref.executor == state.EXECUTOR_KIND_STABILIZER:
        return _tableau_of(ref, data, rows_bytes)
    dtype = np.dtype(dtype_of(ref.precision))
    states = np.frombuffer(data, dtype=dtype, count=rows_bytes // dtype.itemsize).reshape(int(ref.rows), -1)
    rows = _rows_of(ref, data, rows_bytes)
    reals = states.view(states.real.dtype)
    norms = np.einsum("rk,rk->r", reals, reals, dtype=np.float64)
    if not (np.abs(norms - 1) < _NORM_TOLERANCE).all():  # also when a number is not finite
        raise LookupError(f"{ref.holder} sent states that are not normalised")
    return Ensemble(tuple(ref.wires), states, rows, shared=True)


def _tableau_of(ref: state.ComponentRef, data: bytearray, rows_bytes: int) -> Tableau:
    bits = np.frombuffer(data, dtype=np.uint8, count=rows_bytes)
    try:
        return unpacked(tuple(ref.wires), int(ref.rows), bits, _rows_of(ref, data, rows_bytes))
    except ValueError:
        raise LookupError(f"{ref.holder} sent no stabilizer state") from None


def _rows_of(ref: state.ComponentRef, data: bytearray, rows_bytes: int) -> RowOfShot:
    rows = np.frombuffer(data[rows_bytes:], dtype=np.uint32)
    if int(rows.max()) >= ref.rows:
        raise LookupError(f"{ref.holder} sent rows that are not there")
    return rows


class OpenedStates:
    """Grants pulls of what the store holds."""

    def __init__(self, store: VersionStore, tokens: TokenChecker, is_runtime: Callable[[str], bool]) -> None:
        """Takes what is held, and who proves what."""
        self._store = store
        self._tokens = tokens
        self._is_runtime = is_runtime

    def open(self, peer_id: str, request: state.PullRequest) -> tuple[state.ComponentRef, list[memoryview]]:
        """Grants a pull to a node with a token of the same job, or to a runtime whose fence is not below the job's.

        Raises:
            FabricError: it is not granted, or the version is not here.
        """
        job_id = request.id.job_id
        try:
            if self._is_runtime(peer_id):
                self._store.check_fence(job_id, request.fence)
            else:
                self._tokens.check(request.reservation_token, job_id=job_id, node_id=peer_id, now=time.time())
        except StaleClaimError as error:
            raise FabricError("STALE_CLAIM", error.message) from None
        except RejectedError as error:
            raise FabricError("REJECTED", error.message) from None
        version = held(self._store, request.id, request.digest or None)
        return version.ref, version.component.parts()
