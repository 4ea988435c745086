"""Advertisements over GossipSub: nodes publish without subscribing, coordinators receive without relaying."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
import trio
from google.protobuf.message import DecodeError
from libp2p.peer.id import ID

from qmesh.fabric.v1 import advert_pb2 as pb
from qmesh_fabric import guard
from qmesh_fabric.host import Host
from qmesh_fabric.protocols import ADVERTS

log = structlog.get_logger()

MAX_BYTES = 8192
MAX_AGE = 10.0
_MAX_PEERS = 4096


async def publish(host: Host, advert: pb.Advertisement) -> None:
    """Publishes an advertisement; pubsub signs it with the host's key.

    Raises:
        ValueError: it is above 8 KiB.
    """
    data = advert.SerializeToString()
    if len(data) > MAX_BYTES:
        raise ValueError(f"an advertisement of {len(data)} bytes is above {MAX_BYTES}")
    await host.pubsub.publish(ADVERTS, data)


def problem_of(advert: pb.Advertisement) -> str | None:
    """What is out of range in an advertisement; None for nothing."""
    offers = advert.services
    if len(advert.listen_addrs) > 4 or len(offers) > 64 or len(advert.links) > 512:  # noqa: PLR2004 - the advert's bounds
        return "too many entries"
    if len(advert.name) > 64 or not advert.name.isprintable():  # noqa: PLR2004 - as above
        return "name"
    fractions = [offer.fidelity for offer in offers] + [advert.readout_fidelity]
    fractions += [link.pair_fidelity for link in advert.links]
    if any(not (math.isfinite(f) and 0.0 <= f <= 1.0) for f in fractions):
        return "fidelity"
    if any(not (math.isfinite(x.pair_rate_hz) and x.pair_rate_hz >= 0) for x in advert.links):
        return "pair rate"
    if any(not 1 <= offer.qubit_min <= offer.qubit_max <= 1000 for offer in offers):  # noqa: PLR2004 - circuit bound
        return "operands"
    if advert.capacity.data_qubits > 10_000:  # noqa: PLR2004 - more than any circuit has
        return "data qubits"
    return None


class AdvertInbox:
    """Newest valid advertisement of each peer."""

    def __init__(self, host: Host, knows: Callable[[str], bool], clock: Callable[[], float] = time.time) -> None:
        """Takes the host and the gate on authors."""
        self._host = host
        self._knows = knows
        self._clock = clock
        self._last: dict[str, tuple[int, int]] = {}
        self._fresh: dict[str, pb.Advertisement] = {}
        self._changed = trio.Event()

    def validate(self, _forwarder: Any, message: Any) -> bool:
        """Whether a message may be taken; never raises.

        The author is authenticated by pubsub's signature; it must be the node that the advertisement names. Age and
        counter refuse replays, which pubsub itself forgets after two minutes.
        """
        try:
            author = str(ID(message.from_id))
            advert = pb.Advertisement.FromString(message.data)
        except (DecodeError, ValueError) as error:
            return self._refuse(f"undecodable: {error!r}"[:80])
        stamp = (advert.epoch, advert.counter)
        if len(message.data) > MAX_BYTES:
            return self._refuse("oversize")
        if advert.node_id != author:
            return self._refuse("another node's name")
        if not self._knows(author):
            return self._refuse("unknown author")
        if not abs(self._clock() - advert.issued_at) <= MAX_AGE:
            return self._refuse("stale")
        if stamp <= self._last.get(author, (-1, -1)):
            return self._refuse("replay")
        if (problem := problem_of(advert)) is not None:
            return self._refuse(problem)
        if len(self._last) >= _MAX_PEERS and author not in self._last:
            return self._refuse("too many peers")
        self._last[author] = stamp
        return True

    @staticmethod
    def _refuse(why: str) -> bool:
        guard.dropped[f"advert: {why}"] += 1
        return False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receives until it is cancelled; nothing slow happens here."""
        self._host.pubsub.set_topic_validator(ADVERTS, self.validate, False)
        subscription = await self._host.pubsub.subscribe(ADVERTS)
        task_status.started()
        while True:
            message = await subscription.get()
            advert = pb.Advertisement.FromString(message.data)
            known = self._fresh.get(advert.node_id)
            if known is None or (advert.epoch, advert.counter) > (known.epoch, known.counter):
                self._fresh[advert.node_id] = advert
                self._changed.set()

    async def batches(self) -> AsyncIterator[list[pb.Advertisement]]:
        """Fresh advertisements, at most one a peer, as they come."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            fresh, self._fresh = self._fresh, {}
            yield list(fresh.values())
