"""Settings of the analyzer."""

from qmesh_kit.settings import BaseMeshSettings, Duration, ServiceSection, Size


class AnalyzerSection(ServiceSection):
    """QMESH_ANALYZER__*."""

    workers: int = 2
    worker_memory: Size = 4 << 30
    timeout: Duration = 30.0


class Settings(BaseMeshSettings):
    """Everything that the analyzer reads from its environment."""

    analyzer: AnalyzerSection = AnalyzerSection()
