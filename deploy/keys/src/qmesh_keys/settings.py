"""Settings of the job that makes keys."""

from __future__ import annotations

from pydantic import Field

from qmesh_kit.settings import BaseMeshSettings, Duration, Section


class KeysSection(Section):
    """``QMESH_KEYS__*``."""

    namespace: str
    prefix: str
    domain: str
    labels: dict[str, str] = Field(default_factory=dict)
    registries: int = Field(default=1, ge=1, le=64)
    runtimes: int = Field(default=1, ge=1, le=64)
    fabric_port: int = Field(default=4001, ge=1, le=65535)
    existing: dict[str, str] = Field(default_factory=dict)
    certificates: bool = True
    validity: Duration = Field(default=365 * 86400.0, ge=3600)


class Settings(BaseMeshSettings):
    """Everything that the job reads from its environment."""

    keys: KeysSection
