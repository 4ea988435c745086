"""Declared registers, and operands that name their elements."""

from __future__ import annotations

from dataclasses import dataclass

from qmesh_model.circuit import Register
from qmesh_model.lexer import Token
from qmesh_model.limits import Limits


@dataclass(frozen=True, slots=True)
class Declared:
    """A declared register; `scalar` was declared without a size."""

    name: str
    size: int
    offset: int
    quantum: bool
    scalar: bool


@dataclass(frozen=True, slots=True)
class Operand:
    """Qubits or bits by index in the circuit; `single` operands repeat in a broadcast."""

    indices: tuple[int, ...]
    single: bool
    token: Token


class Scope:
    """All registers of a circuit."""

    def __init__(self, limits: Limits) -> None:
        """Takes the bounds."""
        self._limits = limits
        self._registers: dict[str, Declared] = {}
        self.num_qubits = 0
        self.num_bits = 0

    def declare(self, name: str, size: int, *, quantum: bool, scalar: bool) -> tuple[str, str] | None:
        """Declares a register; a code and a sentence when that cannot be."""
        if name in self._registers:
            return "QASM302", f"'{name}' is declared already"
        total = size + (self.num_qubits if quantum else self.num_bits)
        limit = self._limits.qubits if quantum else self._limits.bits
        if total > limit:
            return "MESH103", f"the circuit has {total} {'qubits' if quantum else 'bits'}, more than {limit}"
        offset = self.num_qubits if quantum else self.num_bits
        self._registers[name] = Declared(name, size, offset, quantum, scalar)
        if quantum:
            self.num_qubits = total
        else:
            self.num_bits = total
        return None

    def find(self, name: str) -> Declared | None:
        """A register by name."""
        return self._registers.get(name)

    def names(self) -> list[str]:
        """All names."""
        return list(self._registers)

    def registers(self, *, quantum: bool) -> tuple[Register, ...]:
        """Registers of one kind in the order of their declarations."""
        return tuple(
            Register(r.name, r.size, r.offset) for r in self._registers.values() if r.quantum == quantum
        )
