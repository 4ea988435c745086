"""Advertisements over GossipSub: nodes publish without subscribing, coordinators receive without relaying."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
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
_SECONDS = 3600.0  # of a round trip, or of a memory
_RATE_HZ = 1e12
_ADDRESS = re.compile(
    r"/(ip4/[0-9.]{7,15}|ip6/[0-9a-fA-F:.]{2,45}|dns[46]?/[A-Za-z0-9._-]{1,253})/tcp/\d{1,5}(/p2p/([A-Za-z0-9]{1,64}))?"
)
_NONE: Mapping[str, tuple[int, int]] = {}

Objection = Callable[[pb.Advertisement], str | None]
"""What a registry has against an advertisement beside its ranges; None for nothing."""


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
    offers, links = advert.services, advert.links
    fractions = [offer.fidelity for offer in offers] + [link.pair_fidelity for link in links]
    fractions += [advert.readout_fidelity, advert.load.busy]
    seconds = [advert.memory.t1_seconds, advert.memory.t2_seconds, *(link.rtt_seconds for link in links)]
    checks = (
        (
            "too many entries",
            len(advert.listen_addrs) > _ADDRESSES or len(offers) > _OFFERS or len(links) > _LINKS,
        ),
        ("name", len(advert.name) > _NAME),
        ("text", not all(text.isprintable() for text in _texts(advert))),
        ("address", not all(_is_address(text, advert.node_id) for text in advert.listen_addrs)),
        ("one service twice", len({offer.service_type for offer in offers}) < len(offers)),
        ("one link twice", len({link.peer_id for link in links} | {advert.node_id}) <= len(links)),
        ("fraction", not all(0.0 <= f <= 1.0 for f in fractions)),
        ("amount", not all(0.0 <= x <= _SECONDS for x in seconds)),
        ("amount", not all(0.0 <= link.pair_rate_hz <= _RATE_HZ for link in links)),
        ("amount", not all(0.0 <= link.measured_at <= advert.issued_at + MAX_AGE for link in links)),
        ("operands", not all(1 <= o.qubit_min <= o.qubit_max <= _OPERANDS for o in offers)),
        ("data qubits", advert.capacity.data_qubits > _DATA_QUBITS),
    )
    return next((what for what, wrong in checks if wrong), None)


def _texts(advert: pb.Advertisement) -> list[str]:
    """Everything that people may come to read."""
    offers = [text for offer in advert.services for text in (offer.service_type, *offer.gate_set)]
    links = [link.peer_id for link in advert.links]
    return [advert.name, advert.software, *advert.executors, *offers, *links]


def _is_address(text: str, node_id: str) -> bool:
    """Whether a text is a TCP address at which that node, and no other, may be dialled."""
    found = _ADDRESS.fullmatch(text)
    return found is not None and found[3] in {None, node_id}


class AdvertInbox:
    """Newest valid advertisement of each peer."""

    def __init__(
        self,
        host: Host,
        knows: Callable[[str], bool],
        clock: Callable[[], float] = time.time,
        *,
        objects: Objection = lambda _advert: None,
        heard: Mapping[str, tuple[int, int]] = _NONE,
    ) -> None:
        """Takes the host and the gate on authors.

        Args:
            host: a coordinator's host.
            knows: whether a peer may advertise.
            clock: Unix time in seconds.
            objects: what the registry has against an advertisement beside its ranges.
            heard: (epoch, counter) of the newest of each peer, as stored before a restart.
        """
        self._host = host
        self._knows = knows
        self._clock = clock
        self._objects = objects
        self._last = dict(heard)
        self._digests: dict[str, bytes] = {}
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
            guard.dropped["advert: undecodable"] += 1
            return False
        digest = hashlib.sha256(message.data).digest()
        why = self._objection(author, len(message.data), advert, digest)
        why = why or problem_of(advert) or self._objects(advert)
        if why is not None:
            guard.dropped[f"advert: {why}"] += 1
            return False
        self._last[author] = (advert.epoch, advert.counter)
        self._digests[author] = digest
        return True

    def _objection(self, author: str, size: int, advert: pb.Advertisement, digest: bytes) -> str | None:
        number, last = (advert.epoch, advert.counter), self._last.get(author, (-1, -1))
        checks = (
            ("oversize", size > MAX_BYTES),
            ("another node's name", advert.node_id != author),
            ("unknown author", not self._knows(author)),
            ("stale", not abs(self._clock() - advert.issued_at) <= MAX_AGE),  # also when it is not a number
            ("equivocation", number == last and self._digests.get(author, digest) != digest),
            ("replay", number <= last),
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

    async def batches(self) -> AsyncGenerator[list[pb.Advertisement]]:
        """Fresh advertisements, at most one a peer, as they come."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            fresh, self._fresh = self._fresh, {}
            yield list(fresh.values())
