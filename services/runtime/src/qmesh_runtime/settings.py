"""Settings of the runtime."""

from pathlib import Path

from pydantic import Field

from qmesh_kit.settings import BaseMeshSettings, Duration, NatsSection, PostgresSection, ServiceSection, Size


class RuntimeSection(ServiceSection):
    """QMESH_RUNTIME__*."""

    planner: str
    registry: str
    reservation: str
    analyzer: str
    identity_file: Path
    ledger_file: Path
    lease: Duration = Field(default=6.0, gt=0.5)
    max_jobs: int = Field(default=64, ge=1, le=10_000)
    rows_limit: Size = Field(default=16 << 20, ge=0, le=32 << 20)
    call_timeout: Duration = Field(default=5.0, gt=0)


class Settings(BaseMeshSettings):
    """Everything that the runtime reads from its environment."""

    runtime: RuntimeSection
    nats: NatsSection
    postgres: PostgresSection
