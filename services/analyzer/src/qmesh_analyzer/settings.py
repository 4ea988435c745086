"""Settings of the analyzer."""

from pydantic import Field

from qmesh_kit.settings import BaseMeshSettings, Duration, ServiceSection, Size


class AnalyzerSection(ServiceSection):
    """QMESH_ANALYZER__*."""

    workers: int = Field(default=2, ge=1, le=64)
    worker_memory: Size = Field(default=4 << 30, ge=256 << 20)
    """What one analysis may take, over what a warm worker has."""
    timeout: Duration = Field(default=30.0, gt=0)
    rows_limit: Size = Field(default=32 << 20, ge=1 << 20)


class Settings(BaseMeshSettings):
    """Everything that the analyzer reads from its environment."""

    analyzer: AnalyzerSection = AnalyzerSection()
