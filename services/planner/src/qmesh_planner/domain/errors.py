"""Why there is no plan."""

from __future__ import annotations

from qmesh_model.errors import MeshError


class InfeasibleError(Exception):
    """One assignment of homes does not work out; another one may."""

    def __init__(self, service_type: str, reason: str) -> None:
        """Takes the service that cannot be had (or an empty text) and why."""
        super().__init__(reason)
        self.service_type = service_type
        self.reason = reason


def no_capable_node(service_type: str, reason: str) -> MeshError:
    """The failure that a user sees; it names the service that is missing."""
    return MeshError(
        "NO_CAPABLE_NODE", reason, details={"service_type": service_type} if service_type else None
    )
