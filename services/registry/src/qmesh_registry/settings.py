"""Settings of the registry."""

from pathlib import Path
from typing import override

from pydantic import Field, SecretStr

from qmesh_kit.settings import BaseMeshSettings, Duration, NatsSection, PostgresSection, ServiceSection


class RegistrySection(ServiceSection):
    """QMESH_REGISTRY__*."""

    fabric: str = "/ip4/0.0.0.0/tcp/4001"
    advertise: tuple[str, ...] = ()
    identity_file: Path
    pool_token: SecretStr | None = None
    advert_period: Duration = Field(default=2.0, gt=0)
    probe_period: Duration = Field(default=10.0, gt=0)
    unknown_peers: int = Field(default=32, ge=0)


class Settings(BaseMeshSettings):
    """Everything that the registry reads from its environment."""

    registry: RegistrySection
    postgres: PostgresSection
    nats: NatsSection

    @override
    def production_problems(self) -> list[tuple[str, str]]:
        found = super().production_problems()
        if self.documents.store == "postgres":
            found.append(("QMESH_DOCUMENTS__STORE", "should be mongodb in production"))
        return found
