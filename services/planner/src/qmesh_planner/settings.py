"""Settings of the planner."""

from pydantic import Field

from qmesh_kit.settings import BaseMeshSettings, Duration, PostgresSection, ServiceSection


class PlannerSection(ServiceSection):
    """QMESH_PLANNER__*."""

    registry: str
    weight_latency: int = Field(default=1_000, ge=0)
    weight_risk: int = Field(default=20_000, ge=0)
    weight_ebit: int = Field(default=50_000_000, ge=0)
    weight_load: int = Field(default=2_000, ge=0)
    compile_timeout: Duration = Field(default=60.0, gt=0)
    cached_plans: int = Field(default=512, ge=1, le=100_000)


class Settings(BaseMeshSettings):
    """Everything that the planner reads from its environment."""

    planner: PlannerSection
    postgres: PostgresSection
