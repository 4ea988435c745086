"""Settings of a node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from qmesh_kit.settings import BaseMeshSettings, Section, ServiceSection

Fraction = Annotated[float, Field(ge=0, le=1)]


class NodeSection(ServiceSection):
    """QMESH_NODE__*."""

    fabric: str = "/ip4/0.0.0.0/tcp/4001"
    advertise: tuple[str, ...] = ()
    identity_file: Path
    state_file: Path
    description_file: Path
    registries: tuple[str, ...]
    runtime_peers_file: Path
    token_keys_file: Path
    pool_token: SecretStr | None = None
    ledger_file: Path
    dense_qubits: int = 22


class Settings(BaseMeshSettings):
    """Everything that a node reads from its environment."""

    node: NodeSection


class ServiceDescription(Section):
    """One service that the node offers."""

    service_type: str
    fidelity: Fraction = 1.0
    qubit_min: Annotated[int, Field(ge=1)] = 1
    qubit_max: Annotated[int, Field(ge=1, le=1000)] = 2
    duration_ns: Annotated[int, Field(ge=0)] = 10_000
    gate_set: tuple[str, ...] = ()


class LinkDescription(Section):
    """Calibration of one link."""

    peer_id: str
    pair_fidelity: Fraction
    pair_rate_hz: Annotated[float, Field(gt=0)]


class BehaviourDescription(Section):
    """Controlled degradation, for experiments; adverts say nothing of it."""

    true_fidelity: Fraction | None = None
    delay_ms: Annotated[float, Field(ge=0)] = 0.0
    drop: Fraction = 0.0
    drift_per_hour: Annotated[float, Field(ge=0)] = 0.0


class Description(Section):
    """What the node is: services, capacity, calibration, links, behaviour; the JSON of the description file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    services: tuple[ServiceDescription, ...]
    data_qubits: Annotated[int, Field(ge=1, le=10_000)]
    link_qubits: Annotated[int, Field(ge=0)] = 2
    state_bytes: Annotated[int, Field(ge=1 << 16)] = 1 << 30
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 4
    t1_ns: Annotated[int, Field(ge=0)] = 0
    t2_ns: Annotated[int, Field(ge=0)] = 0
    readout_fidelity: Fraction = 1.0
    links: tuple[LinkDescription, ...] = ()
    behaviour: BehaviourDescription = BehaviourDescription()


def read_description(path: Path) -> Description:
    """The description in a file.

    Raises:
        ValueError: it makes no sense; names the fields.
    """
    try:
        return Description.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from None


def next_epoch(path: Path) -> int:
    """Boot number of the node, counted up durably."""
    last = int(path.read_text()) if path.exists() else 0
    temporary = path.with_suffix(path.suffix + ".new")
    temporary.write_text(str(last + 1))
    temporary.replace(path)
    return last + 1
