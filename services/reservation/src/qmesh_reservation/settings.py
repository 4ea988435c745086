"""Settings of the reservation service."""

from pydantic import Field, SecretStr

from qmesh_kit.settings import BaseMeshSettings, Duration, PostgresSection, ServiceSection


class ReservationSection(ServiceSection):
    """QMESH_RESERVATION__*."""

    signing_key: SecretStr
    longest_ttl: Duration = Field(default=86_400.0, gt=0)
    sweep: Duration = Field(default=1.0, gt=0)


class Settings(BaseMeshSettings):
    """Everything that the reservation service reads from its environment."""

    reservation: ReservationSection
    postgres: PostgresSection
