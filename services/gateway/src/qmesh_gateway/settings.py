"""Settings of the gateway."""

import ipaddress
from typing import override

from pydantic import Field, SecretStr

from qmesh_kit.settings import BaseMeshSettings, Duration, NatsSection, Problem, ServiceSection, Size

_API_KEY = "QMESH_GATEWAY__API_KEY"


class GatewaySection(ServiceSection):
    """QMESH_GATEWAY__*."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    environment: str = "local"
    api_key: SecretStr | None = None
    tenant: str = "default"
    runtime: str = "dns:///runtime:50051"
    planner: str = "dns:///planner:50051"
    registry: str = "dns:///registry:50051"
    reservation: str = "dns:///reservation:50051"
    analyzer: str = "dns:///analyzer:50051"
    call_timeout: Duration = Field(default=10.0, gt=0)
    max_body: Size = Field(default=1 << 20, gt=0)
    body_timeout: Duration = Field(default=10.0, gt=0)
    stream_idle: Duration = Field(default=15.0, gt=0)


class Settings(BaseMeshSettings):
    """Everything that the gateway reads from its environment."""

    gateway: GatewaySection = GatewaySection()
    nats: NatsSection

    @override
    def production_problems(self) -> list[tuple[str, str]]:
        """Production asks every caller for a key."""
        found = super().production_problems()
        if self.gateway.api_key is None:
            found.append((_API_KEY, "is required in production"))
        return found

    def exposure(self) -> Problem | None:
        """A gateway that anyone on the network can use without a key is refused."""
        if self.gateway.api_key is None and not _is_loopback(self.gateway.host):
            return Problem(_API_KEY, "is required when QMESH_GATEWAY__HOST is not a loopback address")
        return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
