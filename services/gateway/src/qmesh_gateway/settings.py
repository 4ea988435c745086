"""Settings of the gateway."""

import ipaddress
from typing import Literal, override

from pydantic import Field, SecretStr

from qmesh_kit.settings import (
    BaseMeshSettings,
    Duration,
    NatsSection,
    Problem,
    Section,
    ServiceSection,
    Size,
)
from qmesh_model.budgets import Budgets

_BOUNDS = Budgets()
_API_KEY = "QMESH_GATEWAY__API_KEY"


class CircuitsSection(Section):
    """QMESH_GATEWAY__CIRCUITS__*: bounds of circuits, each under the name by which a diagnostic names it."""

    text_bytes: Size = Field(default=_BOUNDS.text_bytes, gt=0, le=1 << 20)
    operations: int = Field(default=_BOUNDS.operations, gt=0, le=1_000_000)
    qubits: int = Field(default=_BOUNDS.qubits, gt=0, le=100_000)
    bits: int = Field(default=_BOUNDS.bits, gt=0, le=100_000)
    nesting: int = Field(default=_BOUNDS.nesting, gt=0, le=256)
    identifier: int = Field(default=_BOUNDS.identifier, gt=0, le=1024)
    integer_digits: int = Field(default=_BOUNDS.integer_digits, gt=0, le=18)
    operands: int = Field(default=_BOUNDS.operands, gt=0)
    condition_reads: int = Field(default=_BOUNDS.condition_reads, gt=0)
    expression_work: int = Field(default=_BOUNDS.expression_work, gt=0)
    gate_operations: int = Field(default=_BOUNDS.gate_operations, gt=0, le=1_000_000)
    controls: int = Field(default=_BOUNDS.controls, gt=0, le=128)
    iterations: int = Field(default=_BOUNDS.iterations, gt=0)
    loop_bytes: Size = Field(default=_BOUNDS.loop_bytes, gt=0)
    cpu_seconds: Duration = Field(default=_BOUNDS.cpu_seconds, gt=0, le=60)
    diagnostics: int = Field(default=_BOUNDS.diagnostics, gt=0, le=100)
    annotations: Literal["refuse", "warn"] = _BOUNDS.annotations

    def budgets(self) -> Budgets:
        """For the front end."""
        return Budgets(**self.model_dump())


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
    circuits: CircuitsSection = CircuitsSection()


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
