"""Who may connect: peers listed in a file, and the nodes that registries name."""

from __future__ import annotations

from pathlib import Path

import structlog

from qmesh.fabric.v1 import control_pb2 as control

log = structlog.get_logger()


class PeersFile:
    """Peer ids in a file, one a line; read again when the file changes."""

    def __init__(self, path: Path) -> None:
        """Takes the path."""
        self._path = path
        self._stamp = -1
        self._peers: frozenset[str] = frozenset()

    def __contains__(self, peer_id: str) -> bool:
        """Whether a peer is listed."""
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._peers = frozenset(self._path.read_text().split())
                self._stamp = stamp
        except (
            OSError,
            UnicodeDecodeError,
        ) as error:  # it is being replaced, or broken: what was read before holds
            log.warning("the peers file cannot be read", file=self._path.name, error=repr(error))
        return peer_id in self._peers


class Directory:
    """Admitted nodes, as the registries say."""

    def __init__(self) -> None:
        """Empty until a registry sends one."""
        self.nodes: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.probes: list[str] = []
        self.period = 10.0

    def replace(self, message: control.PeerDirectory) -> None:
        """Takes a new directory over."""
        self.nodes = {entry.peer_id: list(entry.addresses) for entry in message.nodes}
        self.names = {entry.peer_id: entry.name for entry in message.nodes}
