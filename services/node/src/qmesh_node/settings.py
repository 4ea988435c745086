"""Settings of a node."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from qmesh_kit.settings import BaseMeshSettings, Section, ServiceSection

_MOST_KEYS, _KEY_BYTES = 2, 32

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
    dense_qubits: Annotated[int, Field(ge=1, le=24)] = 22


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
    """Boot number of the node, counted up and durable before it is used.

    Raises:
        ValueError: the file holds no number.
    """
    try:
        last = int(path.read_text()) if path.exists() else 0
    except ValueError:
        raise ValueError(f"{path.name} holds no boot number") from None
    temporary = path.with_suffix(path.suffix + ".new")
    with temporary.open("w") as file:
        file.write(str(last + 1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return last + 1


def read_token_keys(path: Path) -> list[bytes]:
    """Raw Ed25519 public keys of reservation: one or two lines of 64 hexadecimal digits.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        keys = [bytes.fromhex(line) for line in path.read_text().split()]
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from None
    except ValueError:
        keys = []
    if not 1 <= len(keys) <= _MOST_KEYS or any(len(key) != _KEY_BYTES for key in keys):
        raise ValueError(
            f"{path.name} should hold one or two public keys of 64 hexadecimal digits, one a line"
        )
    return keys
