"""Every path of a local mesh, under its home."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SOCKET_LIMIT = 90  # a Unix socket path has 107 characters at most


def default_home() -> Path:
    """`QMESH_HOME`, else `.qmesh` in the working directory."""
    return Path(os.environ.get("QMESH_HOME") or ".qmesh").resolve()


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one mesh."""

    home: Path

    def make(self) -> None:
        """Creates all folders, for their owner only."""
        for path in (self.run, self.logs, self.keys, self.ledger, self.sockets):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)

    @property
    def run(self) -> Path:
        """What is true while the mesh runs."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.home / "logs"

    @property
    def keys(self) -> Path:
        """Identities and secrets."""
        return self.home / "keys"

    @property
    def ledger(self) -> Path:
        """Peer logs."""
        return self.home / "ledger"

    @property
    def postgres(self) -> Path:
        """Data of PostgreSQL."""
        return self.home / "pg"

    @property
    def nats(self) -> Path:
        """Data of NATS."""
        return self.home / "nats"

    @property
    def mesh_file(self) -> Path:
        """Pids, ports and URLs; written atomically when all are ready."""
        return self.run / "mesh.json"

    @property
    def control_socket(self) -> Path:
        """The supervisor's control socket."""
        return self.sockets / "control.sock"

    @property
    def sockets(self) -> Path:
        """Folder of Unix sockets; outside a home whose path is too long for them."""
        inside = self.run / "s"
        if len(str(inside)) <= _SOCKET_LIMIT - 20:
            return inside
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"qmesh-{os.getuid()}-{digest}"

    def log(self, process: str) -> Path:
        """Log of a process."""
        return self.logs / f"{process}.log"

    def ready_file(self, process: str) -> Path:
        """Written by a process when it is ready."""
        return self.run / f"{process}.ready"

    def socket(self, service: str) -> str:
        """GRPC target of a service."""
        return f"unix:{self.sockets / service}.sock"

    def probe(self, process: str) -> str:
        """Address of a process's probes and metrics."""
        return f"unix:{self.sockets / process}.http"
