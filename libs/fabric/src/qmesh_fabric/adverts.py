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
_ADDRESSES, _OFFERS, _LINKS, _NAME = 4, 64, 512, 64
_OPERANDS = 1000  # of one circuit
_DATA_QUBITS = 10_000  # more than any circuit has


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
    offers, links, name = advert.services, advert.links, advert.name
    fractions = [offer.fidelity for offer in offers] + [link.pair_fidelity for link in links]
    fractions += [advert.readout_fidelity, advert.load.busy]
    amounts = [advert.memory.t1_seconds, advert.memory.t2_seconds]
    amounts += [x for link in links for x in (link.pair_rate_hz, link.rtt_seconds, link.measured_at)]
    checks = (
        (
            "too many entries",
            len(advert.listen_addrs) > _ADDRESSES or len(offers) > _OFFERS or len(links) > _LINKS,
        ),
        ("name", len(name) > _NAME or not name.isprintable()),
        ("fraction", not all(0.0 <= f <= 1.0 for f in fractions)),
        ("amount", not all(math.isfinite(x) and x >= 0.0 for x in amounts)),
        ("operands", not all(1 <= o.qubit_min <= o.qubit_max <= _OPERANDS for o in offers)),
        ("data qubits", advert.capacity.data_qubits > _DATA_QUBITS),
    )
    return next((what for what, wrong in checks if wrong), None)


class AdvertInbox:
    """Newest valid advertisement of each peer."""

    def __init__(
        self, host: Host, knows: Callable[[str], bool], clock: Callable[[], float] = time.time
    ) -> None:
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
        except (DecodeError, ValueError):
            why: str | None = "undecodable"
        else:
            why = self._objection(author, len(message.data), advert) or problem_of(advert)
        if why is not None:
            guard.dropped[f"advert: {why}"] += 1
            return False
        self._last[author] = (advert.epoch, advert.counter)
        return True

    def _objection(self, author: str, size: int, advert: pb.Advertisement) -> str | None:
        checks = (
            ("oversize", size > MAX_BYTES),
            ("another node's name", advert.node_id != author),
            ("unknown author", not self._knows(author)),
            ("stale", not abs(self._clock() - advert.issued_at) <= MAX_AGE),  # also when it is not a number
            ("replay", (advert.epoch, advert.counter) <= self._last.get(author, (-1, -1))),
            ("too many peers", len(self._last) >= _MAX_PEERS and author not in self._last),
        )
        return next((why for why, wrong in checks if wrong), None)

    async def run(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
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
