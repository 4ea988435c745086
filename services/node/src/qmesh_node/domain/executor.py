"""Executes the operations of one block on ensembles: a pure function of the block and its inputs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model.randomness import CERTAIN, Purpose
from qmesh_node.domain import kernels, noise
from qmesh_node.domain.admission import dtype_of
from qmesh_node.domain.bits import Column, Columns
from qmesh_node.domain.block import Block, check
from qmesh_node.domain.checks import NoisyChecks, check_rates
from qmesh_node.domain.components import Components
from qmesh_node.domain.errors import DeadlineError, InvalidBlockError
from qmesh_node.domain.idling import let_decay
from qmesh_node.domain.links import Strikes
from qmesh_node.domain.memory import Workspace
from qmesh_node.domain.randomness import outcomes
from qmesh_node.domain.syndrome import CODES, Code, decoder
from qmesh_node.domain.tableau import Part
from qmesh_node.domain.tally import FragmentTally

_X = kernels.gate_matrix("x", ())


@dataclass(slots=True)
class Execution:
    """What a block made; `stabilizer`: every component was a stabilizer state to its end."""

    components: list[Part]
    columns: dict[int, Column]
    fragments: list[FragmentTally]
    stabilizer: bool = False


class Executor:
    """Runs one block; keeps the live components and columns while it does."""

    def __init__(
        self,
        block: Block,
        inputs: Sequence[Part],
        columns: Mapping[int, Column],
        recorded: Mapping[int, Column],
        workspace: Workspace,
        dense_limit: int = 22,
    ) -> None:
        """Takes a block, its input versions, the columns that it reads and those that it must reproduce.

        Raises:
            InvalidBlockError: the block contradicts itself or its inputs.
            ExhaustedError: its wires do not fit.
        """
        check(block)
        self._block = block
        self._draws = block.draws
        self._shots = block.draws.shots
        self._columns = Columns(columns, recorded, self._shots)
        self._tallies = [FragmentTally(shots=self._shots) for _ in block.fragments]
        self._components = Components(workspace, dense_limit, dtype_of(block.precision))
        self.abandoned = False
        for component in inputs:
            self._components.add(component)
        for wire in block.fresh_wires:
            self._components.begin(wire, self._shots, stabilizer=block.stabilizer)

    def run(self) -> Execution:
        """Executes all operations.

        Raises:
            InvalidBlockError: the block contradicts itself or its inputs.
            ExhaustedError: a component would not fit.
            DeadlineError: the deadline passed, or nobody waits any more.
        """
        terminal: list[gate.NodeOperation] = []
        for operation in self._block.operations:
            tally = self._begin(operation)
            strikes = self._suffer(operation, tally)
            if operation.terminal:
                terminal.append(operation)
            else:
                self._apply(operation, tally)
            if strikes is not None:
                strikes.after(self._components)
            tally.finished_at = time.time()
            self._note_settled()
        self._readout(terminal)
        outputs = self._outputs()
        self._note_settled()
        return Execution(outputs, self._columns.written, self._tallies, self._components.stabilizer)

    def _note_settled(self) -> None:
        for number in self._components.settled():
            self._tallies[number].finished_at = time.time()

    def _begin(self, operation: gate.NodeOperation) -> FragmentTally:
        now = time.time()
        if self.abandoned or now > self._block.deadline:
            raise DeadlineError("the deadline passed before the work was done")
        tally = self._tallies[operation.fragment]
        tally.started_at = tally.started_at or now
        tally.qubits = max(tally.qubits, len(operation.wires))
        return tally

    def _suffer(self, operation: gate.NodeOperation, tally: FragmentTally) -> Strikes | None:
        """What waiting and pairs do to the wires before an operation; what the pairs still do after it."""
        if self._block.profile is None:
            return None
        if operation.idle_ns:
            let_decay(self._components, self._draws, operation, tally)
        if not operation.struck:
            return None
        strikes = Strikes(operation, self._draws, tally)
        strikes.before(self._components)
        return strikes

    def _apply(self, operation: gate.NodeOperation, tally: FragmentTally) -> None:
        active = self._columns.active(operation)
        if operation.kind == circuit.OPERATION_KIND_GATE:
            self._gate(operation, active, tally)
        elif operation.kind == circuit.OPERATION_KIND_MEASURE:
            self._measure(operation, active, tally)
        elif operation.kind == circuit.OPERATION_KIND_RESET:
            self._reset(operation, active, tally)
        elif operation.kind == circuit.OPERATION_KIND_SYNDROME:
            self._syndrome(operation, active, tally)
        elif operation.kind == circuit.OPERATION_KIND_TELEPORT:
            for wire in operation.wires:
                self._components.find(wire)
            self._gate_error(
                operation, None, tally
            )  # the plan has exchanged the wires: only errors happen here

    def _gate(self, operation: gate.NodeOperation, active: Column | None, tally: FragmentTally) -> None:
        matrix = kernels.gate_matrix(operation.name, tuple(operation.parameters))
        self._components.apply(operation.wires, matrix, active, operation.fragment)
        self._gate_error(operation, active, tally)

    def _gate_error(self, operation: gate.NodeOperation, active: Column | None, tally: FragmentTally) -> None:
        if self._block.profile is None:
            return
        width = len(operation.wires)
        error = noise.gate_error(self._block.profile, operation.name, operation.service_type, width)
        if error <= 0:
            return
        uniforms = self._draws.uniforms(operation.index, Purpose.GATE_ERROR)
        labels = noise.draw_paulis(uniforms, error, width, active)
        self._components.apply_paulis(operation.wires, labels)
        tally.note_errors(labels != 0)

    def _flips(self, operation: gate.NodeOperation, purpose: Purpose = Purpose.READOUT) -> Column | None:
        profile = self._block.profile
        if profile is None or profile.readout_error <= 0:
            return None
        return self._draws.uniforms(operation.index, purpose) < profile.readout_error

    def _outcome(
        self,
        operation: gate.NodeOperation,
        purpose: Purpose,
        zero: NDArray[np.float64],
        active: Column | None,
        flips: Column | None,
        number: int = 0,
    ) -> Column:
        """True outcomes: drawn, or what was recorded with its flips undone."""
        recorded = self._columns.recorded(operation.writes, number)
        if recorded is None:
            return outcomes(self._draws.uniforms(operation.index, purpose, number), zero)
        bits = _flipped(recorded, flips)
        possible = np.where(bits, zero <= 1.0 - CERTAIN, zero >= CERTAIN)
        if not (possible if active is None else possible | ~active).all():
            raise InvalidBlockError(f"a recorded outcome of operation {operation.index} is impossible")
        return bits

    def _measure(self, operation: gate.NodeOperation, active: Column | None, tally: FragmentTally) -> None:
        wire = operation.wires[0]
        flips = self._flips(operation)
        zero = self._components.zero_probability((wire,))
        bits = self._outcome(operation, Purpose.MEASURE, zero, active, flips)
        self._components.collapse((wire,), bits, active)
        tally.note_read(flips, active)
        self._columns.write(operation.writes[0], _flipped(bits, flips), active)

    def _reset(self, operation: gate.NodeOperation, active: Column | None, tally: FragmentTally) -> None:
        """Reads, and flips what was read as 1: a bit that is read wrong leaves |1>."""
        wire = operation.wires[0]
        zero = self._components.zero_probability((wire,))
        bits = outcomes(self._draws.uniforms(operation.index, Purpose.RESET), zero)
        self._components.collapse((wire,), bits, active)
        wrong = self._flips(operation, Purpose.RESET_ERROR)
        tally.note_read(wrong, active)
        ones = _flipped(bits, wrong) if active is None else _flipped(bits, wrong) & active
        if ones.any():
            self._components.apply((wire,), _X, ones)

    def _syndrome(self, operation: gate.NodeOperation, active: Column | None, tally: FragmentTally) -> None:
        code = CODES[len(operation.wires)]
        tally.detail = {"code": code.name, "stabilizers": len(code.stabilizers)}
        if not code.stabilizers:
            self._components.find(operation.wires[0])
            return
        self._components.of(operation.wires)
        noisy = None
        if self._block.profile is not None:
            noisy = NoisyChecks(check_rates(self._block.profile), self._draws, operation.index, active)
        syndrome = np.zeros(self._shots, dtype=np.int64)
        for number in range(len(code.stabilizers)):
            bits = self._check_stabilizer(operation, code, number, active, tally, noisy)
            syndrome |= bits.astype(np.int64) << number
        if active is not None:
            syndrome = np.where(active, syndrome, 0)
        if code.corrects:
            self._correct(operation.wires, syndrome, tally, noisy)
        seen = int(np.count_nonzero(syndrome))
        tally.detail |= {
            "decoder": "lookup" if code.corrects else "none (detects only)",
            "shots_with_syndrome": seen,
            "shots_corrected": seen if code.corrects else 0,
        }

    def _check_stabilizer(
        self,
        operation: gate.NodeOperation,
        code: Code,
        number: int,
        active: Column | None,
        tally: FragmentTally,
        noisy: NoisyChecks | None,
    ) -> Column:
        """Measures one stabiliser; returns the bits as they were read, 1 for the eigenvalue -1."""
        pauli = code.stabilizers[number]
        errors = None if noisy is None else noisy.errors(pauli, number)
        flips = None if errors is None else errors.flips
        zero = self._components.zero_probability(operation.wires, pauli)
        bits = self._outcome(operation, Purpose.SYNDROME, zero, active, flips, number)
        self._components.collapse(operation.wires, bits, active, pauli)
        if errors is not None:
            for wire, letters in zip(operation.wires, errors.letters, strict=True):
                self._components.apply_pauli(wire, letters)
            tally.note_errors(errors.drawn)
        read = _flipped(bits, flips)
        if operation.writes:
            self._columns.write(operation.writes[number], read, active)
        return read

    def _correct(
        self,
        wires: Sequence[int],
        syndrome: NDArray[np.int64],
        tally: FragmentTally,
        noisy: NoisyChecks | None,
    ) -> None:
        table = np.array([correction for _, correction in sorted(decoder(len(wires)).items())])
        for index, wire in enumerate(wires):
            letters = table[syndrome, index]
            self._components.apply_pauli(wire, letters)
            if noisy is not None:
                errors = noisy.correction(letters)
                self._components.apply_pauli(wire, errors)
                tally.note_errors(errors != 0)

    def _readout(self, operations: list[gate.NodeOperation]) -> None:
        """Reads all terminal measurements of each component jointly, in normal-form order."""
        by_component: dict[int, list[gate.NodeOperation]] = {}
        for operation in sorted(operations, key=lambda o: o.index):
            component = self._components.find(operation.wires[0])
            by_component.setdefault(id(component), []).append(operation)
        for group in by_component.values():
            component = self._components.find(group[0].wires[0])
            wires = [operation.wires[0] for operation in group]
            uniforms = [self._draws.uniforms(o.index, Purpose.MEASURE) for o in group]
            for operation, bits in zip(group, component.read(wires, uniforms), strict=True):
                tally = self._tallies[operation.fragment]
                flips = self._flips(operation)
                recorded = self._columns.recorded(operation.writes, 0)
                value = _flipped(bits, flips) if recorded is None else recorded
                self._columns.write(operation.writes[0], value, None)
                tally.note_read(flips, None)
                tally.finished_at = time.time()

    def _outputs(self) -> list[Part]:
        result: list[Part] = []
        for output in self._block.outputs:
            component = self._components.made(output.wires)
            if component is None:
                raise InvalidBlockError(
                    f"component {output.component} should cover wires {sorted(output.wires)}, the block made none such"
                )
            result.append(component)
        return result


def _flipped(bits: Column, flips: Column | None) -> Column:
    return bits if flips is None else bits ^ flips
