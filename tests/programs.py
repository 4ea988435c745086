"""Seeded random programs: the text of each, and, built beside it without qmesh's parser, what it means by Qiskit's matrices.

The exact distribution of a program comes from enumerating every branch of its measurements, resets and syndromes over state vectors.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

import numpy as np
from qiskit.circuit import library as gates
from qiskit.quantum_info import Operator

_EPSILON = 1e-12

type Make = Callable[..., object]

_ONE: Mapping[str, tuple[Make, int]] = {
    "x": (gates.XGate, 0), "y": (gates.YGate, 0), "z": (gates.ZGate, 0), "h": (gates.HGate, 0),
    "s": (gates.SGate, 0), "sdg": (gates.SdgGate, 0), "t": (gates.TGate, 0), "tdg": (gates.TdgGate, 0),
    "sx": (gates.SXGate, 0), "rx": (gates.RXGate, 1), "ry": (gates.RYGate, 1), "rz": (gates.RZGate, 1),
    "p": (gates.PhaseGate, 1), "id": (gates.IGate, 0),
}  # fmt: skip
_TWO: Mapping[str, tuple[Make, int]] = {
    "cx": (gates.CXGate, 0), "cy": (gates.CYGate, 0), "cz": (gates.CZGate, 0), "ch": (gates.CHGate, 0),
    "swap": (gates.SwapGate, 0), "cp": (gates.CPhaseGate, 1), "crx": (gates.CRXGate, 1), "cry": (gates.CRYGate, 1),
    "crz": (gates.CRZGate, 1), "cu": (gates.CUGate, 4),
}  # fmt: skip
_THREE: Mapping[str, tuple[Make, int]] = {"ccx": (gates.CCXGate, 0), "cswap": (gates.CSwapGate, 0)}
_WORDS: Mapping[str, tuple[Make, int, int]] = {
    "cnot": (gates.CXGate, 0, 2), "teleport": (gates.SwapGate, 0, 2), "hadamard": (gates.HGate, 0, 1),
    "controlled_unitary": (gates.CUGate, 4, 2), "programmable_gate": (gates.UGate, 3, 1),
}  # fmt: skip
_ONLY_2: Mapping[str, tuple[Make, int, int]] = {
    "u3": (gates.UGate, 3, 1), "u2": (lambda a, b: gates.UGate(math.pi / 2, a, b), 2, 1),
    "u1": (gates.PhaseGate, 1, 1), "rzz": (gates.RZZGate, 1, 2), "rxx": (gates.RXXGate, 1, 2),
    "cu1": (gates.CPhaseGate, 1, 2), "cu3": (lambda a, b, c: gates.UGate(a, b, c).control(), 3, 2),
    "sxdg": (gates.SXdgGate, 0, 1), "csx": (gates.CSXGate, 0, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One meaning: a matrix on qubits, or a measurement ("measure", "reset", "parity") of qubits into a bit.

    `condition` is (bits, value, equal): the step happens when the bits, little-endian, have (or have not) that value.
    """

    kind: str
    qubits: tuple[int, ...]
    matrix: tuple[tuple[complex, ...], ...] = ()
    bit: int = -1
    condition: tuple[tuple[int, ...], int, bool] | None = None


@dataclass(slots=True)
class Program:
    """A text and its meaning; `registers` are the sizes of the classical registers in the order of declaration."""

    text: str
    num_qubits: int
    registers: tuple[int, ...]
    steps: list[Step] = field(default_factory=list)

    def distribution(self) -> dict[str, float]:
        """Exact probabilities of the counts' keys, as Qiskit prints them."""
        return _distribution(self)


@lru_cache(maxsize=4096)
def _matrix(make: Make, params: tuple[float, ...]) -> tuple[tuple[complex, ...], ...]:
    return tuple(map(tuple, Operator(make(*params)).data.tolist()))


class _Writer:
    """Collects lines and steps."""

    def __init__(self, random: Random, version: int, num_qubits: int, dynamic: bool) -> None:
        self.random = random
        self.version = version
        self.n = num_qubits
        self.dynamic = dynamic
        self.lines: list[str] = []
        self.steps: list[Step] = []
        self.sizes: list[int] = []
        self.bits: list[tuple[str, int]] = []
        self.condition: tuple[tuple[int, ...], int, bool] | None = None

    def angle(self) -> tuple[str, float]:
        """An angle in one of the ways in which people write it."""
        k = self.random.randrange(1, 9)
        return self.random.choice(
            [
                (f"pi/{k}", math.pi / k),
                (f"-{k}*pi/4", -k * math.pi / 4),
                (f"{k / 7:.5f}", float(f"{k / 7:.5f}")),
                (f"2*pi*{k}/16 - 0.25", 2 * math.pi * k / 16 - 0.25),
            ]
        )

    def gate(self, name: str, make: Make, num_params: int, qubits: tuple[int, ...], prefix: str = "") -> None:
        angles = [self.angle() for _ in range(num_params)]
        written = f"({', '.join(text for text, _ in angles)})" if angles else ""
        operands = ", ".join(f"q[{qubit}]" for qubit in qubits)
        self.lines.append(f"{prefix}{name}{written} {operands};")
        matrix = _matrix(make, tuple(value for _, value in angles))
        self.steps.append(Step("unitary", qubits, matrix, condition=self.condition))

    def measure(self, qubit: int, bit: int, prefix: str = "") -> None:
        name, index = self.bits[bit]
        target = f"{name}[{index}]"
        if self.version == 3 and self.random.random() < 0.5:
            self.lines.append(f"{prefix}{target} = measure q[{qubit}];")
        else:
            self.lines.append(f"{prefix}measure q[{qubit}] -> {target};")
        self.steps.append(Step("measure", (qubit,), bit=bit, condition=self.condition))

    def random_gate(self, prefix: str = "") -> None:
        choice = self.random.random()
        pool: list[tuple[str, Make, int, int]] = [(n, m, p, 1) for n, (m, p) in _ONE.items()]
        if choice > 0.4 and self.n > 1:
            pool = [(n, m, p, 2) for n, (m, p) in _TWO.items() if n != "cu" or self.version == 3]
        if choice > 0.85:
            pool = [(n, m, p, w) for n, (m, p, w) in _WORDS.items()]
            if self.version == 2:
                pool += [(n, m, p, w) for n, (m, p, w) in _ONLY_2.items()]
            pool += [(n, m, p, 3) for n, (m, p) in _THREE.items()]
        name, make, num_params, width = self.random.choice([entry for entry in pool if entry[3] <= self.n])
        self.gate(name, make, num_params, tuple(self.random.sample(range(self.n), width)), prefix)

    def word(self) -> None:
        """A service word that is more than a gate."""
        random, n = self.random, self.n
        choice = random.randrange(5)
        if choice == 0 and n >= 2:
            a, b = random.sample(range(n), 2)
            self.lines.append(f"{random.choice(['bell_pair', 'BELL_PAIR'])} q[{a}], q[{b}];")
            self.steps.append(Step("unitary", (a,), _matrix(gates.HGate, ())))
            self.steps.append(Step("unitary", (a, b), _matrix(gates.CXGate, ())))
        elif choice == 1:
            width = random.randrange(1, min(n, 4) + 1)
            qubits = tuple(random.sample(range(n), width))
            inverse = random.random() < 0.5
            operands = ", ".join(f"q[{qubit}]" for qubit in qubits)
            self.lines.append(f"{'iqft' if inverse else 'qft'} {operands};")
            dimension = 2**width
            sign = -2j if inverse else 2j
            matrix = [
                [
                    complex(np.exp(sign * math.pi * j * k / dimension) / math.sqrt(dimension))
                    for k in range(dimension)
                ]
                for j in range(dimension)
            ]
            self.steps.append(Step("unitary", qubits, tuple(map(tuple, matrix))))
        elif choice == 2:
            self.lines.append(f"distillation q[{random.randrange(n)}];")
        elif choice == 3:
            self.lines.append(f"syndrome_extraction q[{random.randrange(n)}];")
        elif self.dynamic and n >= 3:
            a, b, c = random.sample(range(n), 3)
            self.lines.append(f"syndrome_extraction q[{a}], q[{b}], q[{c}];")
            first, second = -2, -3
            self.steps.append(Step("parity", (a, b), bit=first))
            self.steps.append(Step("parity", (b, c), bit=second))
            flip = _matrix(gates.XGate, ())
            for value, qubit in ((1, a), (3, b), (2, c)):
                self.steps.append(Step("unitary", (qubit,), flip, condition=((first, second), value, True)))
        else:
            self.lines.append(f"barrier q[{random.randrange(n)}];" if random.random() < 0.5 else "barrier q;")

    def conditional(self) -> None:
        """An operation under a condition, in the forms of the language."""
        random = self.random
        if self.version == 2:
            register = random.randrange(len(self.sizes))
            offset = sum(self.sizes[:register])
            bits = tuple(range(offset, offset + self.sizes[register]))
            value = random.randrange(2 ** len(bits))
            self.condition = (bits, value, True)
            self._conditioned(f"if (r{register} == {value}) ")
        else:
            bit = random.randrange(len(self.bits))
            name, index = self.bits[bit]
            form = random.randrange(4)
            if form == 0:
                value = random.randrange(2)
                self.condition = ((bit,), value, True)
                self._conditioned(f"if ({name}[{index}] == {value}) ")
            elif form == 1:
                self.condition = ((bit,), 1, True)
                self._conditioned(f"if ({name}[{index}]) ")
            elif form == 2:
                self.condition = ((bit,), 0, True)
                self.lines.append(f"if (!{name}[{index}]) {{")
                self._conditioned("  ")
                self.lines.append("} else {")
                self.condition = ((bit,), 0, False)
                self.random_gate("  ")
                self.lines.append("}")
            else:
                register = random.randrange(len(self.sizes))
                offset = sum(self.sizes[:register])
                bits = tuple(range(offset, offset + self.sizes[register]))
                value = random.randrange(2 ** len(bits))
                equal = random.random() < 0.5
                self.condition = (bits, value, equal)
                self._conditioned(f"if (r{register} {'==' if equal else '!='} {value}) ")
        self.condition = None

    def _conditioned(self, prefix: str) -> None:
        self.random_gate(prefix)

    def step(self) -> None:
        """One more line or two."""
        random = self.random
        choice = random.random()
        if choice < 0.12:
            self.word()
        elif self.dynamic and choice < 0.2:
            self.measure(random.randrange(self.n), random.randrange(len(self.bits)))
        elif self.dynamic and choice < 0.24:
            qubit = random.randrange(self.n)
            self.lines.append(f"reset q[{qubit}];")
            self.steps.append(Step("reset", (qubit,)))
        elif self.dynamic and choice < 0.34:
            self.conditional()
        else:
            self.random_gate()


def program(seed: int, *, max_qubits: int = 6, length: int = 24, dynamic: bool | None = None) -> Program:
    """One random program.

    Args:
        seed: decides everything.
        max_qubits: 1 to this many qubits.
        length: about so many statements.
        dynamic: with mid-circuit measurement, reset and conditions; the seed decides when None.
    """
    random = Random(seed)
    version = random.choice([2, 3])
    is_dynamic = random.random() < 0.5 if dynamic is None else dynamic
    writer = _Writer(random, version, random.randrange(1, max_qubits + 1), is_dynamic)
    n = writer.n
    first = random.randrange(1, n + 1)
    writer.sizes = [first] + ([n - first] if first < n else [])
    if version == 2:
        head = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{n}];"]
        head += [f"creg r{i}[{size}];" for i, size in enumerate(writer.sizes)]
    else:
        head = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{n}] q;"]
        head += [f"bit[{size}] r{i};" for i, size in enumerate(writer.sizes)]
    writer.bits = [(f"r{i}", index) for i, size in enumerate(writer.sizes) for index in range(size)]
    for _ in range(random.randrange(length // 2, length + 1)):
        writer.step()
    for bit, qubit in enumerate(random.sample(range(n), n)):
        if random.random() < 0.9:
            writer.measure(qubit, bit)
    if not any(step.kind == "measure" for step in writer.steps):
        writer.measure(0, 0)
    return Program("\n".join(head + writer.lines) + "\n", n, tuple(writer.sizes), writer.steps)


def _apply(state: np.ndarray, step: Step, n: int) -> np.ndarray:
    """A matrix on qubits of a little-endian state; the first operand is the least significant bit of the matrix."""
    width = len(step.qubits)
    axes = [n - 1 - qubit for qubit in reversed(step.qubits)]
    tensor = np.moveaxis(state.reshape((2,) * n), axes, range(width))
    shape = tensor.shape
    tensor = (np.array(step.matrix) @ tensor.reshape(2**width, -1)).reshape(shape)
    moved: np.ndarray = np.moveaxis(tensor, range(width), axes).reshape(-1)
    return moved


def _split(state: np.ndarray, qubits: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The parts of a state with even and odd parity of qubits."""
    index = np.arange(len(state))
    parity = np.zeros(len(state), dtype=int)
    for qubit in qubits:
        parity ^= (index >> qubit) & 1
    return np.where(parity == 0, state, 0), np.where(parity == 1, state, 0)


type _Branch = tuple[dict[int, int], np.ndarray]


def _happens(step: Step, bits: Mapping[int, int]) -> bool:
    if step.condition is None:
        return True
    which, value, equal = step.condition
    have = sum(bits.get(bit, 0) << place for place, bit in enumerate(which))
    return (have == value) == equal


def _follow(step: Step, bits: dict[int, int], state: np.ndarray, n: int) -> list[_Branch]:
    """What becomes of one branch."""
    if not _happens(step, bits):
        return [(bits, state)]
    if step.kind == "unitary":
        return [(bits, _apply(state, step, n))]
    found: list[_Branch] = []
    for outcome, part in enumerate(_split(state, step.qubits)):
        if np.vdot(part, part).real < _EPSILON:
            continue
        if step.kind != "reset":
            found.append((bits | {step.bit: outcome}, part))
        elif outcome:
            found.append((bits, _apply(part, Step("unitary", step.qubits, _matrix(gates.XGate, ())), n)))
        else:
            found.append((bits, part))
    return found


def _distribution(found: Program) -> dict[str, float]:
    n = found.num_qubits
    start = np.zeros(2**n, dtype=complex)
    start[0] = 1
    branches: list[_Branch] = [({}, start)]
    for step in found.steps:
        branches = [after for bits, state in branches for after in _follow(step, bits, state, n)]
    total: dict[str, float] = defaultdict(float)
    for bits, state in branches:
        parts, offset = [], 0
        for size in found.registers:
            parts.append("".join(str(bits.get(bit, 0)) for bit in reversed(range(offset, offset + size))))
            offset += size
        total[" ".join(reversed(parts))] += np.vdot(state, state).real
    return dict(total)
