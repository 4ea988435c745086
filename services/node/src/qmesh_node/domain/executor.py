"""Executes the operations of one block on ensembles: a pure function of the block and its inputs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_model.randomness import Purpose
from qmesh_node.domain import kernels, noise, readout
from qmesh_node.domain.bits import Column, evaluate
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import ExhaustedError, InvalidBlockError
from qmesh_node.domain.randomness import Draws, outcomes
from qmesh_node.domain.syndrome import CODES, decoder

_MAX_DENSE = 24


@dataclass(frozen=True, slots=True)
class Block:
    """What is to be executed, apart from where it came from and who asks."""

    operations: Sequence[gate.NodeOperation]
    fragments: Sequence[gate.FragmentHeader]
    outputs: Sequence[gate.OutputComponent]
    fresh_wires: Sequence[int]
    draws: Draws
    profile: gate.NoiseProfile | None
    precision: state.Precision
    memory_limit: int
    dense_limit: int = 22


@dataclass(slots=True)
class FragmentTally:
    """What one fragment showed."""

    started_at: float = 0.0
    finished_at: float = 0.0
    good: NDArray[np.bool_] | None = None
    reads: int = 0
    reads_right: int = 0
    qubits: int = 1
    measured: bool = False
    detail: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Execution:
    """What a block made."""

    ensembles: list[Ensemble]
    columns: dict[int, Column]
    fragments: list[FragmentTally]


class Executor:
    """Runs one block; keeps the live components and columns while it does."""

    def __init__(
        self,
        block: Block,
        inputs: Sequence[Ensemble],
        columns: Mapping[int, Column],
        recorded: Mapping[int, Column],
    ) -> None:
        """Takes a block, its input versions, the columns that it reads and those that it must reproduce."""
        self._block = block
        self._shots = block.draws.shots
        self._columns = dict(columns)
        self._recorded = recorded
        self._written: dict[int, Column] = {}
        self._of_wire: dict[int, Ensemble] = {}
        self._tallies = [FragmentTally() for _ in block.fragments]
        for ensemble in inputs:
            for wire in ensemble.wires:
                self._of_wire[wire] = ensemble
        dtype = np.complex64 if block.precision == state.PRECISION_SINGLE else np.complex128
        for wire in block.fresh_wires:
            if wire in self._of_wire:
                raise InvalidBlockError(f"wire {wire} is both fresh and an input")
            self._of_wire[wire] = Ensemble.zero(wire, self._shots, dtype)

    def run(self) -> Execution:
        """Executes all operations.

        Raises:
            InvalidBlockError: the block contradicts itself or its inputs.
            ExhaustedError: a component would not fit.
        """
        terminal: list[gate.NodeOperation] = []
        for operation in self._block.operations:
            if operation.fragment >= len(self._tallies):
                raise InvalidBlockError(f"operation {operation.index} names fragment {operation.fragment}")
            if operation.terminal:
                terminal.append(operation)
                continue
            tally = self._begin(operation)
            self._apply(operation, tally)
            tally.finished_at = time.time()
        self._readout(terminal)
        return Execution(self._outputs(), self._written, self._tallies)

    def _begin(self, operation: gate.NodeOperation) -> FragmentTally:
        tally = self._tallies[operation.fragment]
        if not tally.started_at:
            tally.started_at = time.time()
            tally.good = np.ones(self._shots, dtype=np.bool_)
        tally.qubits = max(tally.qubits, len(operation.wires))
        return tally

    def _apply(self, operation: gate.NodeOperation, tally: FragmentTally) -> None:
        kind = operation.kind
        active = (
            evaluate(operation.condition, self._columns, self._shots)
            if operation.HasField("condition")
            else None
        )
        if kind == circuit.OPERATION_KIND_GATE:
            self._gate(operation, active, tally)
        elif kind == circuit.OPERATION_KIND_MEASURE:
            self._measure(operation, active, tally)
        elif kind == circuit.OPERATION_KIND_RESET:
            self._reset(operation, active)
        elif kind == circuit.OPERATION_KIND_SYNDROME:
            self._syndrome(operation, active, tally)
        elif kind == circuit.OPERATION_KIND_TELEPORT:
            for wire in operation.wires:  # the wires were relabelled by the plan: only errors happen here
                self._gate_error(operation, (wire,), self._component(wire), None, tally, draw=wire)
        elif kind not in {
            circuit.OPERATION_KIND_DISTILLATION,
            circuit.OPERATION_KIND_BARRIER,
            circuit.OPERATION_KIND_DELAY,
        }:
            raise InvalidBlockError(f"operation {operation.index} has a kind that no node executes")

    def _component(self, *wires: int) -> Ensemble:
        """The component of the wires; components that meet are merged."""
        try:
            parts = [self._of_wire[wire] for wire in wires]
        except KeyError as missing:
            raise InvalidBlockError(f"wire {missing} is neither fresh nor part of an input") from None
        component = parts[0]
        for part in parts[1:]:
            if part is component or part.wires[0] in component.wires:
                continue
            self._admit(len(component.wires) + len(part.wires), max(component.rows, part.rows))
            component = component.merge(part)
            self._admit(len(component.wires), component.rows)
            for wire in component.wires:
                self._of_wire[wire] = component
        return component

    def _admit(self, qubits: int, rows: int) -> None:
        if qubits > min(self._block.dense_limit, _MAX_DENSE):
            raise ExhaustedError(
                f"a component of {qubits} qubits is above this node's dense limit of {self._block.dense_limit}"
            )
        size = (8 if self._block.precision == state.PRECISION_SINGLE else 16) * rows << qubits
        if size > self._block.memory_limit:
            raise ExhaustedError(
                f"a component of {qubits} qubits with {rows} rows needs {size} bytes, above the "
                f"{self._block.memory_limit} bytes that are free"
            )

    def _split(self, component: Ensemble, labels: NDArray[np.integer], count: int) -> NDArray[np.int64]:
        result = component.split(labels, count)
        self._admit(len(component.wires), component.rows)
        component.own()
        return result

    def _rows_where(self, component: Ensemble, active: Column | None) -> NDArray[np.intp] | None:
        """Rows whose shots are active, after splitting rows that are half so; None means all."""
        if active is None:
            component.own()
            return None
        return np.flatnonzero(self._split(component, active.astype(np.int64), 2))

    def _gate(self, operation: gate.NodeOperation, active: Column | None, tally: FragmentTally) -> None:
        wires = tuple(operation.wires)
        component = self._component(*wires)
        matrix = kernels.gate_matrix(operation.name, tuple(operation.parameters))
        if len(matrix) != 1 << len(wires):
            raise InvalidBlockError(f"{operation.name} does not take {len(wires)} wires")
        rows = self._rows_where(component, active)
        positions = tuple(component.position(wire) for wire in wires)
        kernels.apply_to_rows(component.states, positions, matrix, rows)
        self._gate_error(operation, wires, component, active, tally)

    def _gate_error(
        self,
        operation: gate.NodeOperation,
        wires: tuple[int, ...],
        component: Ensemble,
        active: Column | None,
        tally: FragmentTally,
        draw: int = 0,
    ) -> None:
        profile = self._block.profile
        if profile is None:
            return
        error = noise.gate_error(profile, operation.name, operation.service_type, len(wires))
        if error <= 0:
            return
        uniforms = self._block.draws.uniforms(operation.index, Purpose.GATE_ERROR, draw)
        labels = noise.draw_paulis(uniforms, error, len(wires), active)
        noise.apply_paulis(component, wires, labels)
        self._admit(len(component.wires), component.rows)
        if tally.good is not None:
            tally.good &= labels == 0

    def _flips(self, operation: gate.NodeOperation) -> Column | None:
        profile = self._block.profile
        if profile is None or profile.readout_error <= 0:
            return None
        drawn = self._block.draws.uniforms(operation.index, Purpose.READOUT)
        return drawn < profile.readout_error

    def _write(self, write: circuit.ClassicalWrite, value: Column, active: Column | None) -> None:
        if active is not None:
            previous = (
                np.zeros(self._shots, dtype=np.bool_)
                if write.previous < 0
                else self._columns.get(write.previous)
            )
            if previous is None:
                raise InvalidBlockError(f"bit version {write.previous} is kept but was not given")
            value = np.where(active, value, previous)
        self._columns[write.version] = value
        self._written[write.version] = value

    def _measure(self, operation: gate.NodeOperation, active: Column | None, tally: FragmentTally) -> None:
        component = self._component(*operation.wires)
        position = component.position(operation.wires[0])
        p0 = kernels.zero_probability(component.states, position)[component.row_of_shot]
        flips = self._flips(operation)
        recorded = self._recorded.get(operation.writes[0].version) if operation.writes else None
        if recorded is not None:
            bits = recorded if flips is None else recorded ^ flips
            possible = np.where(bits, p0 < 1.0 - 1e-12, p0 > 1e-12)  # the clamps of `outcomes`
            if not (possible if active is None else possible | ~active).all():
                raise InvalidBlockError(f"a recorded outcome of operation {operation.index} is impossible")
        else:
            bits = outcomes(self._block.draws.uniforms(operation.index, Purpose.MEASURE), p0)
        self._collapse(component, operation.wires[0], bits, active)
        self._tally_read(tally, flips, active)
        value = bits if flips is None else bits ^ flips
        for write in operation.writes:
            self._write(write, value, active)

    def _collapse(self, component: Ensemble, wire: int, bits: Column, active: Column | None) -> None:
        labels = bits.astype(np.int64)
        if active is None:
            rows = self._split(component, labels, 2).astype(np.bool_)
            kernels.project(component.states, component.position(wire), rows)
            return
        row_labels = self._split(component, np.where(active, labels, 2), 3)
        chosen = np.flatnonzero(row_labels < 2)  # noqa: PLR2004 - label 2 marks shots that are not measured
        if len(chosen):
            part = component.states[chosen]
            kernels.project(part, component.position(wire), row_labels[chosen].astype(np.bool_))
            component.states[chosen] = part

    def _reset(self, operation: gate.NodeOperation, active: Column | None) -> None:
        wire = operation.wires[0]
        component = self._component(wire)
        p0 = kernels.zero_probability(component.states, component.position(wire))[component.row_of_shot]
        bits = outcomes(self._block.draws.uniforms(operation.index, Purpose.RESET), p0)
        self._collapse(component, wire, bits, active)
        ones = bits if active is None else bits & active
        if ones.any():
            rows = self._rows_where(component, ones)
            matrix = kernels.gate_matrix("x", ())
            kernels.apply_to_rows(component.states, (component.position(wire),), matrix, rows)

    def _syndrome(self, operation: gate.NodeOperation, active: Column | None, tally: FragmentTally) -> None:
        wires = tuple(operation.wires)
        code = CODES.get(len(wires))
        if code is None:
            raise InvalidBlockError(f"no code has {len(wires)} qubits")
        tally.detail = {"code": code.name, "stabilizers": len(code.stabilizers)}
        if not code.stabilizers:
            return
        component = self._component(*wires)
        syndrome = np.zeros(self._shots, dtype=np.int64)
        for number, stabilizer in enumerate(code.stabilizers):
            bits = self._measure_pauli(operation, component, wires, stabilizer, number, active)
            syndrome |= bits.astype(np.int64) << number
            if number < len(operation.writes):
                self._write(operation.writes[number], bits, active)
        if active is not None:
            syndrome = np.where(active, syndrome, 0)
        corrected = 0
        if code.corrects:
            corrected = self._correct(component, wires, syndrome)
        tally.detail |= {
            "decoder": "lookup" if code.corrects else "none (detects only)",
            "shots_with_syndrome": int(np.count_nonzero(syndrome)),
            "shots_corrected": corrected,
        }

    def _measure_pauli(
        self,
        operation: gate.NodeOperation,
        component: Ensemble,
        wires: tuple[int, ...],
        pauli: tuple[int, ...],
        number: int,
        active: Column | None,
    ) -> Column:
        """Measures a Pauli product by projection; the bit is 1 for the eigenvalue -1."""
        acted = component.states.copy()
        everything = np.arange(component.rows)
        for wire, letter in zip(wires, pauli, strict=True):
            kernels.apply_pauli(acted, component.position(wire), letter, everything)
        expectation = np.sum((component.states.conj() * acted).real, axis=1)
        p0 = ((1 + expectation) / 2)[component.row_of_shot]
        version = operation.writes[number].version if number < len(operation.writes) else None
        recorded = self._recorded.get(version) if version is not None else None
        uniforms = self._block.draws.uniforms(operation.index, Purpose.SYNDROME, number)
        bits = recorded if recorded is not None else outcomes(uniforms, p0)
        labels = bits.astype(np.int64) if active is None else np.where(active, bits.astype(np.int64), 2)
        row_labels = self._split(component, labels, 3)
        acted = component.states.copy()
        for wire, letter in zip(wires, pauli, strict=True):
            kernels.apply_pauli(acted, component.position(wire), letter, np.arange(component.rows))
        sign = np.where(row_labels == 1, -1.0, np.where(row_labels == 0, 1.0, 0.0))
        component.states += sign[:, None] * acted
        component.states /= np.sqrt(np.sum(np.abs(component.states) ** 2, axis=1))[:, None]
        return bits

    def _correct(self, component: Ensemble, wires: tuple[int, ...], syndrome: NDArray[np.int64]) -> int:
        table = decoder(len(wires))
        row_syndrome = self._split(component, syndrome, 1 << len(CODES[len(wires)].stabilizers))
        for value in np.unique(row_syndrome):
            rows = np.flatnonzero(row_syndrome == value)
            for wire, letter in zip(wires, table[int(value)], strict=True):
                kernels.apply_pauli(component.states, component.position(wire), letter, rows)
        return int(np.count_nonzero(syndrome))

    def _tally_read(self, tally: FragmentTally, flips: Column | None, active: Column | None) -> None:
        read = self._shots if active is None else int(np.count_nonzero(active))
        wrong = 0 if flips is None else int(np.count_nonzero(flips if active is None else flips & active))
        tally.measured = True
        tally.reads += read
        tally.reads_right += read - wrong

    def _readout(self, operations: list[gate.NodeOperation]) -> None:
        """Reads all terminal measurements of each component jointly, in normal-form order."""
        by_component: dict[int, list[gate.NodeOperation]] = {}
        for operation in sorted(operations, key=lambda o: o.index):
            self._begin(operation)
            by_component.setdefault(id(self._component(*operation.wires)), []).append(operation)
        for group in by_component.values():
            component = self._component(*group[0].wires)
            wires = [operation.wires[0] for operation in group]
            uniforms = [self._block.draws.uniforms(o.index, Purpose.MEASURE) for o in group]
            for operation, bits in zip(group, readout.read(component, wires, uniforms), strict=True):
                tally = self._tallies[operation.fragment]
                flips = self._flips(operation)
                value = bits if flips is None else bits ^ flips
                for write in operation.writes:
                    expected = self._recorded.get(write.version)
                    self._write(write, value if expected is None else expected, None)
                self._tally_read(tally, flips, None)
                tally.finished_at = time.time()

    def _outputs(self) -> list[Ensemble]:
        result = []
        for output in self._block.outputs:
            wires = set(output.wires)
            ensemble = self._of_wire.get(next(iter(output.wires), -1))
            if ensemble is None or set(ensemble.wires) != wires:
                have = None if ensemble is None else sorted(ensemble.wires)
                raise InvalidBlockError(
                    f"component {output.component} should cover wires {sorted(wires)}, the block made {have}"
                )
            result.append(ensemble)
        return result


def fragment_message(
    header: gate.FragmentHeader, tally: FragmentTally, *, noisy: bool, ebits: Sequence[gate.EbitUse]
) -> gate.FragmentResult:
    """The signed account of one fragment."""
    if not noisy:
        estimate, process = noise.Estimate(1.0, 1.0, 1.0), 1.0
    elif tally.measured:
        estimate = noise.wilson(tally.reads_right, tally.reads)
        process = estimate.value
    else:
        good = tally.good if tally.good is not None else np.ones(1, dtype=np.bool_)
        fraction = noise.wilson(int(np.count_nonzero(good)), len(good))
        estimate, process = noise.average_gate_fidelity(fraction, tally.qubits), fraction.value
    return gate.FragmentResult(
        fragment_id=header.fragment_id,
        started_at=tally.started_at,
        finished_at=tally.finished_at,
        observed_fidelity=estimate.value,
        fidelity_low=estimate.low,
        fidelity_high=estimate.high,
        fidelity_source="sampled" if noisy else "exact",
        process_fidelity=process,
        model_start_ns=header.planned_start_ns,
        gate_ns=header.gate_ns,
        link_wait_ns=header.link_wait_ns,
        idle_ns=header.idle_ns,
        ebits=ebits,
        detail_json=orjson.dumps(tally.detail) if tally.detail else b"",
    )
