"""Settings of a node."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from qmesh_kit.settings import BaseMeshSettings, Section, ServiceSection

_MOST_KEYS, _KEY_BYTES = 2, 32

NAME = r"^[a-z][a-z0-9-]{0,62}$"
Fraction = Annotated[float, Field(ge=0, le=1)]


class NodeSection(ServiceSection):
    """QMESH_NODE__*."""

    name: Annotated[str, Field(pattern=NAME)] | None = None
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
    """Calibration of a link to one peer, to the nodes of a name or of a pool, or, with none of these, to every other node.

    The nodes of a pool are called by the pool's name, a hyphen and a number.
    """

    peer_id: str | None = None
    name: str | None = None
    pool: str | None = None
    pair_fidelity: Fraction
    pair_rate_hz: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if sum(end is not None for end in (self.peer_id, self.name, self.pool)) > 1:
            raise ValueError("a link has one of peer_id, name and pool, or none for every other node")
        return self

    def leads_to(self, name: str) -> bool:
        """Whether it is a link to nodes of this name; a link by peer id is found by that."""
        if self.peer_id is not None:
            return False
        pool, _, number = name.rpartition("-")
        return self.name in {None, name} and (self.pool is None or (self.pool == pool and number.isdecimal()))


class BehaviourDescription(Section):
    """Controlled degradation, for experiments; adverts say nothing of it."""

    true_fidelity: Fraction | None = None
    delay_ms: Annotated[float, Field(ge=0)] = 0.0
    drop: Fraction = 0.0
    drift_per_hour: Annotated[float, Field(ge=0)] = 0.0


class Description(Section):
    """What the node is: services, capacity, calibration, links, behaviour; the JSON of the description file."""

    name: Annotated[str, Field(pattern=NAME)]
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


def read_description(path: Path, name: str | None = None) -> Description:
    """The description in a file; the nodes of a pool share one, without a name.

    Raises:
        ValueError: it makes no sense; names the fields.
    """
    try:
        told = json.loads(path.read_text())
        return Description.model_validate(told if name is None else told | {"name": name})
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
