"""What noise does to one check of a code: errors of its gates, its ancilla and its reading, carried to its end.

The circuit is: reset the ancilla; for an X check H; a CX for each operand of the check, ascending, from the ancilla (X check)
or to it (Z check); for an X check H again; read. Errors are Paulis and the circuit is Clifford, so that they act on the data
after the projection, and flip the outcome. Reference: Gottesman, "The Heisenberg representation of quantum computers", 1998.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model.randomness import Purpose
from qmesh_node.domain.bits import Column
from qmesh_node.domain.noise import draw_paulis, gate_error
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.syndrome import Pauli, X

_WORD = "syndrome_extraction"
_LETTER_OF = np.array([[0, 3], [1, 2]])  # by (X part, Z part)


@dataclass(frozen=True, slots=True)
class CheckRates:
    """Error probabilities of what a check is made of.

    Attributes:
        cx: of a CX between an operand and the ancilla.
        h: of a Hadamard gate on the ancilla.
        read: of a read bit, and so of a reset, which reads and flips.
        correction: of X, Y and Z on an operand, by letter; that of no correction is 0.
    """

    cx: float
    h: float
    read: float
    correction: tuple[float, float, float, float]


def check_rates(profile: gate.NoiseProfile) -> CheckRates:
    """Rates of a node: of a gate that has no figure of its own or of its service, the figure of the word counts."""

    def error(name: str, service_type: str, qubits: int) -> float:
        known = name in profile.gate_fidelity or service_type in profile.service_fidelity
        return gate_error(profile, name, service_type if known else _WORD, qubits)

    x, y, z = (error(name, "programmable_gate", 1) for name in "xyz")
    return CheckRates(
        error("cx", "cnot", 2), error("h", "hadamard", 1), profile.readout_error, (0.0, x, y, z)
    )


@dataclass(slots=True)
class CheckErrors:
    """Errors of one check, drawn and carried to its end.

    Attributes:
        flips: shots in which the bit is not what the data say.
        letters: for each operand of the block the Pauli that the check leaves on it, by shot.
        drawn: shots in which an error was drawn.
    """

    flips: Column
    letters: NDArray[np.int64]
    drawn: Column


@dataclass(slots=True)
class NoisyChecks:
    """Draws the errors of the checks of one operation, in the order in which the gates happen.

    Attributes:
        rates: error probabilities.
        draws: all draws.
        operation: index in the normal form; gates of the operation are numbered through.
        active: shots in which the operation happens; None for all.
    """

    rates: CheckRates
    draws: Draws
    operation: int
    active: Column | None = None
    _gates: int = field(default=0)

    def errors(self, pauli: Pauli, number: int) -> CheckErrors:
        """Errors of check `number`, whose letters over the block are all X or all Z."""
        size, shots = len(pauli), self.draws.shots
        operands = [place for place, letter in enumerate(pauli) if letter]
        is_x, ancilla = pauli[operands[0]] == X, size
        frame = _Frame(np.zeros((2, size + 1, shots), dtype=np.bool_), np.zeros(shots, dtype=np.bool_))
        frame.flip(ancilla, self._wrong(Purpose.RESET_ERROR, number))
        if is_x:
            frame.hadamard(ancilla)
            frame.err([ancilla], self._labels(self.rates.h, 1))
        for operand in operands:
            pair = [ancilla, operand] if is_x else [operand, ancilla]
            frame.cx(*pair)
            frame.err(pair, self._labels(self.rates.cx, 2))
        if is_x:
            frame.hadamard(ancilla)
            frame.err([ancilla], self._labels(self.rates.h, 1))
        frame.flip(ancilla, self._wrong(Purpose.READOUT, number))
        x, z = frame.parts[:, :size].astype(np.int64)
        return CheckErrors(frame.parts[0, ancilla], _LETTER_OF[x, z], frame.drawn)

    def correction(self, letters: NDArray[np.int64]) -> NDArray[np.int64]:
        """Error of the gates that correct one operand, by shot; `letters` are the corrections."""
        made = np.zeros_like(letters)
        uniforms = self._uniforms()
        for letter in (1, 2, 3):
            made |= draw_paulis(uniforms, self.rates.correction[letter], 1, letters == letter)
        return made

    def _uniforms(self) -> NDArray[np.float64]:
        self._gates += 1
        return self.draws.uniforms(self.operation, Purpose.GATE_ERROR, self._gates - 1)

    def _labels(self, error: float, qubits: int) -> NDArray[np.int64]:
        return draw_paulis(self._uniforms(), error, qubits, self.active)

    def _wrong(self, purpose: Purpose, number: int) -> Column:
        wrong: Column = self.draws.uniforms(self.operation, purpose, number) < self.rates.read
        return wrong if self.active is None else wrong & self.active


@dataclass(slots=True)
class _Frame:
    """Paulis on operands and ancilla by shot: `parts[0]` X, `parts[1]` Z; and where one was drawn."""

    parts: NDArray[np.bool_]
    drawn: Column

    def hadamard(self, qubit: int) -> None:
        self.parts[:, qubit] = self.parts[::-1, qubit].copy()

    def cx(self, control: int, target: int) -> None:
        self.parts[0, target] ^= self.parts[0, control]
        self.parts[1, control] ^= self.parts[1, target]

    def flip(self, qubit: int, wrong: Column) -> None:
        self.parts[0, qubit] ^= wrong
        self.drawn |= wrong

    def err(self, qubits: list[int], labels: NDArray[np.int64]) -> None:
        """Multiplies by drawn Paulis, base 4 with the first qubit least significant."""
        for index, qubit in enumerate(qubits):
            letters = labels >> 2 * index & 3
            self.parts[0, qubit] ^= (letters == 1) | (letters == 2)  # noqa: PLR2004 - 2 is Y
            self.parts[1, qubit] ^= letters >= 2  # noqa: PLR2004 - Y and Z
        self.drawn |= labels != 0
