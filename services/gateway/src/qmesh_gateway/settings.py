"""Settings of the gateway."""

from pydantic import SecretStr

from qmesh_kit.settings import BaseMeshSettings, Duration, NatsSection, ServiceSection, Size


class GatewaySection(ServiceSection):
    """QMESH_GATEWAY__*."""

    host: str = "127.0.0.1"
    port: int = 8080
    environment: str = "local"
    api_key: SecretStr | None = None
    tenant: str = "default"
    runtime: str = "dns:///runtime:50051"
    planner: str = "dns:///planner:50051"
    registry: str = "dns:///registry:50051"
    reservation: str = "dns:///reservation:50051"
    analyzer: str = "dns:///analyzer:50051"
    call_timeout: Duration = 10.0
    max_body: Size = 1 << 20
    max_shots: int = 1_000_000
    stream_idle: Duration = 15.0


class Settings(BaseMeshSettings):
    """Everything that the gateway reads from its environment."""

    gateway: GatewaySection = GatewaySection()
    nats: NatsSection
