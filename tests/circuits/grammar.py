"""A grammar of OpenQASM: each program is a text, and beside it the `QuantumCircuit` that it means.

The two are made from the same draws and never from each other: the text by templates, the meaning by Qiskit's gates, by
NumPy for what has no gate in Qiskit (definitions, modifiers), and by running loops as Python does. Covers what the front end
accepts of OpenQASM 2.0 and 3, on 1 to 6 qubits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, QuantumRegister
from qiskit.circuit import library as lib
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import Operator

from tests.circuits.meaning import applied

Array = NDArray[np.complex128]
type Env = Mapping[str, float]
type Value = Callable[[Env], float]
type Index = Callable[[Env], int]
type Act = Callable[[QuantumCircuit, Env], None]
type Make = Callable[..., Any]

_U2: Make = lambda a, b: lib.UGate(math.pi / 2, a, b)  # noqa: E731 - an entry of a table

_BOTH: Mapping[str, tuple[Make, int, int]] = {
    "x": (lib.XGate, 0, 1), "y": (lib.YGate, 0, 1), "z": (lib.ZGate, 0, 1), "h": (lib.HGate, 0, 1),
    "s": (lib.SGate, 0, 1), "sdg": (lib.SdgGate, 0, 1), "t": (lib.TGate, 0, 1), "tdg": (lib.TdgGate, 0, 1),
    "sx": (lib.SXGate, 0, 1), "rx": (lib.RXGate, 1, 1), "ry": (lib.RYGate, 1, 1), "rz": (lib.RZGate, 1, 1),
    "p": (lib.PhaseGate, 1, 1), "id": (lib.IGate, 0, 1), "u1": (lib.PhaseGate, 1, 1), "u2": (_U2, 2, 1),
    "u3": (lib.UGate, 3, 1), "cx": (lib.CXGate, 0, 2), "cy": (lib.CYGate, 0, 2), "cz": (lib.CZGate, 0, 2),
    "ch": (lib.CHGate, 0, 2), "swap": (lib.SwapGate, 0, 2), "cp": (lib.CPhaseGate, 1, 2), "crx": (lib.CRXGate, 1, 2),
    "cry": (lib.CRYGate, 1, 2), "crz": (lib.CRZGate, 1, 2), "ccx": (lib.CCXGate, 0, 3), "cswap": (lib.CSwapGate, 0, 3),
}  # fmt: skip
_ONLY_2: Mapping[str, tuple[Make, int, int]] = {
    "u": (lib.UGate, 3, 1), "u0": (lambda _: lib.IGate(), 1, 1), "sxdg": (lib.SXdgGate, 0, 1), "csx": (lib.CSXGate, 0, 2),
    "cu1": (lib.CPhaseGate, 1, 2), "cu3": (lib.CU3Gate, 3, 2), "rxx": (lib.RXXGate, 1, 2), "rzz": (lib.RZZGate, 1, 2),
    "rccx": (lib.RCCXGate, 0, 3), "rc3x": (lib.RC3XGate, 0, 4), "c3x": (lib.C3XGate, 0, 4), "c4x": (lib.C4XGate, 0, 5),
    "c3sqrtx": (lib.C3SXGate, 0, 4),
}  # fmt: skip
_ONLY_3: Mapping[str, tuple[Make, int, int]] = {
    "cu": (lib.CUGate, 4, 2), "phase": (lib.PhaseGate, 1, 1), "cphase": (lib.CPhaseGate, 1, 2),
}  # fmt: skip
_LANGUAGE: Mapping[str, tuple[Make, int, int]] = {"U": (lib.UGate, 3, 1), "CX": (lib.CXGate, 0, 2)}
_WORDS: Mapping[str, tuple[Make, int, int]] = {
    "cnot": (lib.CXGate, 0, 2), "teleport": (lib.SwapGate, 0, 2), "hadamard": (lib.HGate, 0, 1),
    "controlled_unitary": (lib.CUGate, 4, 2), "programmable_gate": (lib.UGate, 3, 1),
}  # fmt: skip
_CONTROL = np.array([[1, 0], [0, 0]]), np.array([[0, 0], [0, 1]])


_SHARED = {
    "broadcast",
    "functions",
    "gate definition",
    "mid-circuit measurement",
    "names in expressions",
    "qft",
    "reset",
    "service word",
}
FEATURES: Mapping[int, frozenset[str]] = {
    2: frozenset(_SHARED | {"if of OpenQASM 2"}),
    3: frozenset(
        _SHARED
        | {
            "alias",
            "alias element",
            "bit condition",
            "boolean operators",
            "const",
            "constant in index",
            "ctrl",
            "delay",
            "else",
        }
        | {
            "for",
            "for over a set",
            "for over a stepped range",
            "for over one statement",
            "fractional power",
            "gphase",
        }
        | {
            "index set",
            "input",
            "integer power",
            "inv",
            "loop variable in index",
            "modifier in a body",
            "negative index",
        }
        | {"negctrl", "open range", "range", "register comparison", "stepped range"}
    ),
}
"""What programs of each language may have; a large sample has all of it."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate that can be called: what it is called, its numbers, its matrix; `word` if only qmesh knows it."""

    name: str
    params: int
    qubits: int
    matrix: Callable[..., Array]
    make: Make | None = None
    word: bool = False


@dataclass(slots=True)
class Program:
    """A text, what it means, and what of it other tools may not know."""

    text: str
    circuit: QuantumCircuit
    version: int
    values: dict[str, float]
    dynamic: bool
    words: bool
    features: frozenset[str]


@dataclass(slots=True)
class Register:
    """A name for some qubits or bits; `scalar` without brackets."""

    name: str
    elements: tuple[int, ...]
    scalar: bool = False
    alias: bool = False


def _matrix(make: Make) -> Callable[..., Array]:
    return lambda *params: np.asarray(Operator(make(*params)).data)


def _gates(table: Mapping[str, tuple[Make, int, int]], *, word: bool = False) -> list[Gate]:
    return [Gate(name, p, q, _matrix(make), make, word) for name, (make, p, q) in table.items()]


def _power(exponent: int, matrix: Array) -> Array:
    powered: Array = np.linalg.matrix_power(matrix, exponent)
    return powered


def _principal(exponent: float, matrix: Array) -> Array:
    """Power by eigenvalues with phases in (-pi, pi]."""
    from scipy.linalg import schur

    triangle, basis = schur(matrix, output="complex")
    phases = np.angle(np.diag(triangle))
    phases = np.where(phases < 1e-9 - math.pi, math.pi, phases)
    powered: Array = basis @ np.diag(np.exp(1j * exponent * phases)) @ basis.conj().T
    return powered


class _Writer:
    """Draws one program."""

    def __init__(
        self, draw: Callable[[Any], Any], version: int, *, dynamic: bool, portable: bool, max_qubits: int
    ) -> None:
        self.draw = draw
        self.version = version
        self.dynamic = dynamic
        self.portable = portable
        self.features: set[str] = set()
        self.words = False
        self.collapses = 0
        self.passes = 1
        self.loops: dict[str, Sequence[int]] = {}
        self.constants: dict[str, float] = {}
        self.integers: dict[str, int] = {}
        self.values: dict[str, float] = {}
        self.formals: list[str] = []
        self.wordy = not portable and self.chance(5)
        self.included = version == 2 or portable or self.chance(9)
        self.gates = _gates(_LANGUAGE)
        if self.included:
            self.gates += _gates(_BOTH) + _gates(_ONLY_2 if version == 2 else _ONLY_3)
        self.word_gates = _gates(_WORDS, word=True)
        self.qubits: list[Register] = []
        self.bits: list[Register] = []
        self.n = self.integer(1, max_qubits)
        self.lines: list[str] = []
        self.acts: list[Act] = []
        self.conditioned = False

    # -- draws

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def chance(self, of_ten: int) -> bool:
        return self.integer(1, 10) <= of_ten

    def choice[T](self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def sample(self, options: Sequence[int], count: int) -> list[int]:
        return list(self.draw(st.permutations(list(options))))[:count]

    # -- expressions

    def angle(self, depth: int = 2) -> tuple[str, Value]:  # noqa: PLR0911 - one way to write it each
        """An angle as people write it, and its value."""
        kind = self.integer(0, 9 if depth else 4)
        k, m = self.integer(1, 9), self.integer(1, 7)
        names = [*self.loops, *self.constants, *self.values, *self.formals]
        if kind == 1:
            return f"{k}*pi/{m}", lambda _: k * math.pi / m
        if kind == 2:
            return f"0.{k}{m}", lambda _: float(f"0.{k}{m}")
        if kind == 3:
            return f"-{k}.{m}e-1", lambda _: -float(f"{k}.{m}e-1")
        if kind == 4 and names:
            name = self.choice(names)
            self.features.add("names in expressions")
            return name, lambda env: float(env[name])
        if kind in {5, 6, 7}:
            return self._binary(depth)
        if kind == 8 and (self.version == 2 or not self.portable):
            self.features.add("functions")
            name = self.choice(["sin", "cos", "tan", "exp", "sqrt", "ln"])
            inner, value = self.angle(0)
            if name in {"sqrt", "ln"}:
                return f"{name}(({inner})*({inner}) + 1)", lambda env: getattr(
                    math, {"ln": "log"}.get(name, name)
                )(value(env) ** 2 + 1)
            scale = {"exp": "/20", "tan": "/8"}.get(name, "")
            by = {"exp": 20, "tan": 8}.get(name, 1)
            return f"{name}(({inner}){scale})", lambda env: getattr(math, name)(value(env) / by)
        if kind == 9:
            inner, value = self.angle(depth - 1)
            return f"-({inner})", lambda env: -value(env)
        return f"pi/{k}", lambda _: math.pi / k

    def _binary(self, depth: int) -> tuple[str, Value]:
        left, a = self.angle(depth - 1)
        right, b = self.angle(depth - 1)
        operator = self.choice(
            ["+", "-", "*", "/", "^"][: -1 if self.portable and self.version == 3 else None]
        )
        if operator == "/":
            return f"({left}) / (2 + ({right})*({right}))", lambda env: a(env) / (2 + b(env) ** 2)
        if operator == "^":
            power = "^" if self.version == 2 else "**"
            return f"(({left})/8) {power} 2", lambda env: (a(env) / 8) ** 2
        spaced = self.choice([" ", ""])
        act: dict[str, Value] = {
            "+": lambda env: a(env) + b(env),
            "-": lambda env: a(env) - b(env),
            "*": lambda env: a(env) * b(env),
        }
        return f"({left}){spaced}{operator}{spaced}({right})", act[operator]

    def _envs(self) -> list[dict[str, float]]:
        names = list(self.loops)
        base: dict[str, float] = {**self.constants, **self.integers, **self.values}
        return [base | dict(zip(names, row, strict=True)) for row in itertools.product(*self.loops.values())]

    # -- operands

    def element(self, register: Register, place: int) -> str:
        """One element of a register, in one of the ways to write it."""
        size = len(register.elements)
        if register.scalar:
            return register.name
        if self.version == 3 and self.chance(2):
            self.features.add("negative index")
            return f"{register.name}[{place - size}]"
        if self.version == 3 and self.chance(1) and self.integers:
            name = self.choice(list(self.integers))
            self.features.add("constant in index")
            return f"{register.name}[{name} + {place - self.integers[name]}]"
        return f"{register.name}[{place}]"

    def operand(self, registers: Sequence[Register], index: int) -> str:
        """One qubit or bit by its number in the circuit."""
        holders = [r for r in registers if index in r.elements]
        register = self.choice(holders)
        if register.alias:
            self.features.add("alias element")
        return self.element(register, register.elements.index(index))

    def operands(self, count: int) -> tuple[list[str], list[Index]]:
        """Different qubits, by number or by loop variable."""
        if self.loops and self.chance(7):
            for _ in range(3):
                found = [self._moving() for _ in range(count)]
                rows = [[index(env) for _, index in found] for env in self._envs()]
                if all(len(set(row)) == count for row in rows):
                    self.features.add("loop variable in index")
                    return [text for text, _ in found], [index for _, index in found]
        chosen = self.sample(range(self.n), count)
        fixed: list[Index] = [lambda _, q=q: q for q in chosen]  # type: ignore[misc]
        return [self.operand(self.qubits, q) for q in chosen], fixed

    def _moving(self) -> tuple[str, Index]:
        name = self.choice(list(self.loops))
        register = self.choice([r for r in self.qubits if not r.scalar] or self.qubits)
        if register.scalar:
            return register.name, lambda _: register.elements[0]
        size, shift = len(register.elements), self.integer(0, 2)
        low, high = min(self.loops[name]), max(self.loops[name])
        if low + shift >= 0 and high + shift < size:
            written = f"{name}+{shift}" if shift else name
            return f"{register.name}[{written}]", lambda env: register.elements[int(env[name]) + shift]
        if self.portable:
            return self.element(register, size - 1), lambda _: register.elements[-1]
        by = 7 * size
        return (
            f"{register.name}[({name} + {shift + by}) % {size}]",
            lambda env: register.elements[(int(env[name]) + shift + by) % size],
        )

    def many(self, registers: Sequence[Register]) -> tuple[str, tuple[int, ...]]:
        """Some elements of one register: whole, a range, or a set."""
        register = self.choice(registers)
        size = len(register.elements)
        kind = self.integer(0, 4)
        if self.version == 2 or register.scalar or kind == 0 or size == 1:
            return register.name, register.elements
        low = self.integer(0, size - 1)
        high = self.integer(low, size - 1)
        if kind == 1:
            self.features.add("range")
            return f"{register.name}[{low}:{high}]", register.elements[low : high + 1]
        if kind == 2:
            self.features.add("stepped range")
            step = self.integer(1, 2)
            if self.chance(5) or self.portable:  # the importer reads `[2:-1:0]` as without 0
                return f"{register.name}[{low}:{step}:{high}]", register.elements[low : high + 1 : step]
            picked = [register.elements[i] for i in range(high, low - 1, -step)]
            return f"{register.name}[{high}:-{step}:{low}]", tuple(picked)
        if kind == 3:
            self.features.add("open range")
            return f"{register.name}[{low}:]", register.elements[low:]
        self.features.add("index set")
        places = self.sample(range(size), self.integer(1, size))
        return (
            f"{register.name}[{{{', '.join(map(str, places))}}}]",
            tuple(register.elements[i] for i in places),
        )

    # -- statements

    def add(self, text: str, act: Act) -> None:
        self.lines.append(text)
        self.acts.append(act)

    def pick(self, widest: int, *, words: bool = True) -> Gate:
        pool = [g for g in self.gates if g.qubits <= widest and not (self.portable and g.name == "u0")]
        if words and self.wordy and self.chance(2):
            pool = [g for g in self.word_gates if g.qubits <= widest]
        gate = self.choice(pool)
        if gate.word:
            self.words = True
            self.features.add("service word")
        return gate

    def called(self, gate: Gate) -> str:
        """The name as written: words in any case."""
        if gate.word and self.chance(3):
            return self.choice([gate.name.upper(), gate.name.title()])
        return gate.name

    def parameters(self, gate: Gate) -> tuple[str, list[Value]]:
        found = [self.angle() for _ in range(gate.params)]
        text = f"({', '.join(t for t, _ in found)})" if found else self.choice(["", "", "()"]) * 0
        return text, [value for _, value in found]

    def gate(self) -> None:
        gate = self.pick(self.n)
        text, values = self.parameters(gate)
        names, indices = self.operands(gate.qubits)

        def act(circuit: QuantumCircuit, env: Env) -> None:
            params = [value(env) for value in values]
            made = gate.make(*params) if gate.make else UnitaryGate(gate.matrix(*params))
            circuit.append(made, [index(env) for index in indices])

        self.add(f"{self.called(gate)}{text} {', '.join(names)};", act)

    def broadcast(self) -> None:
        """A gate over whole registers, some operands single."""
        self.features.add("broadcast")
        gate = self.pick(min(2, self.n), words=False)
        text, values = self.parameters(gate)
        columns: list[tuple[str, tuple[int, ...], bool]] = []
        first_text, first = self.many(self.qubits)
        columns.append((first_text, first, first_text in {r.name for r in self.qubits if r.scalar}))
        if gate.qubits == 2:
            rest = [q for q in range(self.n) if q not in first]
            fitting = [
                r for r in self.qubits if len(r.elements) == len(first) and not set(r.elements) & set(first)
            ]
            if fitting and self.chance(6) and not columns[0][2]:
                other = self.choice(fitting)
                columns.append((other.name, other.elements, other.scalar))
            elif rest:
                single = self.choice(rest)
                columns.append((self.operand(self.qubits, single), (single,), True))
            else:
                return
            if self.chance(5):
                columns.reverse()
        length = max(len(elements) for _, elements, _ in columns)
        rows = [
            [elements[0] if len(elements) == 1 else elements[k] for _, elements, _ in columns]
            for k in range(length)
        ]

        def act(circuit: QuantumCircuit, env: Env) -> None:
            params = [value(env) for value in values]
            for row in rows:
                made = gate.make(*params) if gate.make else UnitaryGate(gate.matrix(*params))
                circuit.append(made, row)

        self.add(f"{gate.name}{text} {', '.join(t for t, _, _ in columns)};", act)

    def modified(self) -> None:
        """A gate under modifiers."""
        text, count, matrix = self.modifiers(self.n)
        if matrix is None:
            return
        names, indices = self.operands(count)

        def act(circuit: QuantumCircuit, env: Env) -> None:
            if indices:
                circuit.append(UnitaryGate(matrix(env)), [index(env) for index in indices])
            elif not self.conditioned:
                circuit.global_phase += float(np.angle(matrix(env)[0, 0]))

        self.add(f"{text} {', '.join(names)};", act)

    def modifiers(self, widest: int) -> tuple[str, int, Callable[[Env], Array] | None]:
        """Text of a modified gate without operands, its width, and its matrix; None if nothing fits."""
        phase = self.chance(2)
        gate = (
            Gate("gphase", 1, 0, lambda angle: np.array([[np.exp(1j * angle)]]))
            if phase
            else self.pick(widest, words=self.loops == {} and not self.formals)
        )
        if (
            self.portable and gate.name == "cu"
        ):  # Qiskit 2.6 loses gamma in the inverse of a controlled CUGate
            return "", 0, None
        text, values = self.parameters(gate)
        width = gate.qubits
        words: list[str] = []
        steps: list[Callable[[Array], Array]] = []
        simple = gate.make is not None and gate.qubits <= 2
        for _ in range(self.integer(1, 3)):
            kind = self.choice(["ctrl", "negctrl", "inv", "pow", "ctrl"])
            if kind in {"ctrl", "negctrl"}:
                room = widest - width
                if room < 1:
                    continue
                count = self.integer(1, min(room, 2))
                width += count
                written = f"({count})" if count > 1 or self.chance(2) else ""
                words.insert(0, f"{kind}{written} @ ")
                steps.append(partial(_controlled, count, int(kind == "ctrl")))
                self.features.add(kind)
            elif kind == "inv":
                words.insert(0, "inv @ ")
                steps.append(lambda m: m.conj().T)
                self.features.add("inv")
            elif simple and not self.formals and not phase and self._fractional(gate, words):
                exponent = self.choice([0.5, 1.5, -0.25, 1 / 3])
                fractions = (
                    {} if self.portable else {0.5: "1/2", 1 / 3: "1/3"}
                )  # the importer divides integers
                written = fractions.get(exponent, repr(exponent))
                words.insert(0, f"pow({written}) @ ")
                steps.append(partial(_principal, exponent))
                simple = False
                self.features.add("fractional power")
            else:
                power = self.integer(-2, 3)
                words.insert(0, f"pow({power}) @ ")
                steps.append(partial(_power, power))
                simple = False
                self.features.add("integer power")
        if not words:
            return "", 0, None

        def matrix(env: Env) -> Array:
            found = gate.matrix(*[value(env) for value in values])
            for step in steps:
                found = step(found)
            return found

        return f"{''.join(words)}{gate.name}{text}", width, matrix

    def _fractional(self, gate: Gate, words: Sequence[str]) -> bool:
        """A fractional power next: of symbolic angles there is none, and eigenvalues near -1 must not be turned first.

        The importer multiplies angles beyond a half turn instead of taking the principal power.
        """
        if self.portable and gate.params:
            return False
        return not self.values and not any(word.startswith(("inv", "pow")) for word in words)

    def phase(self) -> None:
        if self.version == 2:
            return
        self.features.add("gphase")
        text, value = self.angle()

        def act(circuit: QuantumCircuit, env: Env) -> None:
            if not self.conditioned:
                circuit.global_phase += value(env)

        self.add(f"gphase({text});", act)

    def define(self) -> None:
        """A gate definition; later calls mean its matrix."""
        self.features.add("gate definition")
        width = self.integer(1, min(3, self.n))
        # the importer of OpenQASM 3 exchanges the values of parameters when the body does not use all of them
        count = self.integer(0, 1 if self.portable and self.version == 3 else 2)
        name = f"g{len(self.gates)}"
        formals = [f"{self.choice(['a', 'θ' if self.version == 3 else 'b'])}{i}" for i in range(count)]
        operands = [f"w{i}" for i in range(width)]
        saved = self.loops, self.values, self.formals
        self.loops, self.values, self.formals = {}, {}, formals
        body, steps = self._body(operands)
        self.loops, self.values, self.formals = saved
        constants: Env = {**self.constants, **self.integers}

        def matrix(*params: float) -> Array:
            env = {**constants, **dict(zip(formals, params, strict=True))}
            found = np.eye(1 << width, dtype=complex)
            for make, where in steps:
                part = make(env)
                found = found * part[0, 0] if not where else applied(found, part, where)
            return found

        head = f"({', '.join(formals)})" if formals else self.choice(["", "()"])
        self.lines.append(f"gate {name}{head} {', '.join(operands)} {{ {' '.join(body)} }}")
        self.gates.append(Gate(name, count, width, matrix))

    def _body(
        self, operands: Sequence[str]
    ) -> tuple[list[str], list[tuple[Callable[[Env], Array], list[int]]]]:
        body: list[str] = []
        steps: list[tuple[Callable[[Env], Array], list[int]]] = []
        width = len(operands)
        for _ in range(self.integer(0, 4)):
            kind = self.integer(0, 9)
            if kind == 0:
                body.append(f"barrier {operands[0]};")
            elif kind <= 2 and self.version == 3:
                text, wide, made = self.modifiers(width)
                if made is not None:
                    self.features.add("modifier in a body")
                    where = self.sample(range(width), wide)
                    body.append(f"{text} {', '.join(operands[q] for q in where)};")
                    steps.append((made, where))
            elif kind == 3 and self.version == 3:
                text, value = self.angle()
                body.append(f"gphase({text});")
                steps.append((lambda env, v=value: np.array([[np.exp(1j * v(env))]]), []))  # type: ignore[misc]
            else:
                gate = self.pick(width, words=False)
                text, values = self.parameters(gate)
                where = self.sample(range(width), gate.qubits)
                body.append(f"{gate.name}{text} {', '.join(operands[q] for q in where)};")
                steps.append((lambda env, g=gate, v=values: g.matrix(*[x(env) for x in v]), where))  # type: ignore[misc]
        return body, steps

    def word(self) -> None:
        """A service word that is more than one gate of Qiskit."""
        if self.loops or self.conditioned or not self.wordy:
            self.gate()
            return
        self.words = True
        kind = self.integer(0, 3)
        if kind == 0 and self.n >= 2:
            names, where = self.operands(2)

            def pair(circuit: QuantumCircuit, env: Env) -> None:
                circuit.h(where[0](env))
                circuit.cx(where[0](env), where[1](env))

            self.add(f"{self.choice(['bell_pair', 'BELL_PAIR', 'Bell_Pair'])} {', '.join(names)};", pair)
        elif kind == 1:
            self._fourier()
        elif kind == 2:
            names, _ = self.operands(1)
            self.add(f"distillation{self.choice(['', '(dejmps)'])} {names[0]};", lambda _c, _e: None)
        else:
            names, _ = self.operands(1)
            self.add(f"syndrome_extraction {names[0]};", lambda _c, _e: None)

    def _fourier(self) -> None:
        self.features.add("qft")
        names, where = self.operands(self.integer(1, min(self.n, 4)))
        kind = self.integer(0, 2 if self.version == 3 else 1)
        size = 1 << len(where)
        grid = np.outer(np.arange(size), np.arange(size))
        matrix = np.exp((2j if kind == 0 else -2j) * math.pi * grid / size) / math.sqrt(size)

        def act(circuit: QuantumCircuit, env: Env) -> None:
            circuit.append(UnitaryGate(matrix), [index(env) for index in where])

        self.add(f"{['qft', 'iqft', 'inv @ qft'][kind]} {', '.join(names)};", act)

    def idle(self) -> None:
        kind = self.integer(0, 3 if self.version == 3 else 1)
        text, elements = self.many(self.qubits)
        if kind == 0 or self.conditioned:
            names = text if self.chance(5) else ", ".join(r.name for r in self.qubits if not r.alias)
            self.add(f"barrier {names};", lambda circuit, _: circuit.barrier())
        elif kind == 1 and self.dynamic and self.collapses + len(elements) * self.passes <= 4:
            self.features.add("reset")
            self.collapses += len(elements) * self.passes

            def act(circuit: QuantumCircuit, _: Env) -> None:
                for qubit in elements:
                    circuit.reset(qubit)

            self.add(f"reset {text};", act)
        elif kind == 2:
            self.features.add("delay")
            self.add(f"delay[{self.integer(1, 99)}ns] {text};", lambda _c, _e: None)
        elif kind == 3:
            self.add("barrier;", lambda circuit, _: circuit.barrier())

    def measure(self, qubit: int, bit: int) -> None:
        source, target = self.operand(self.qubits, qubit), self.operand(self.bits, bit)
        text = f"measure {source} -> {target};"
        if self.version == 3 and self.chance(5):
            text = f"{target} = measure {source};"
        self.add(text, lambda circuit, _: circuit.measure(qubit, bit))

    def middle(self) -> None:
        """A measurement in the middle."""
        if not self.dynamic or self.collapses + self.passes > 4:
            return
        self.features.add("mid-circuit measurement")
        self.collapses += self.passes
        total = sum(len(r.elements) for r in self.bits if not r.alias)
        self.measure(self.integer(0, self.n - 1), self.integer(0, total - 1))

    # -- conditions

    def condition(self, circuit_bits: Sequence[Register]) -> tuple[str, Callable[[QuantumCircuit], Any]]:
        """A condition, and its Qiskit form over a circuit's registers."""
        register = self.choice([r for r in circuit_bits if not r.alias])
        size = len(register.elements)
        value = self.integer(0, (1 << size) - 1)
        if self.version == 2:
            self.features.add("if of OpenQASM 2")
            return f"{register.name} == {value}", lambda c: (c.cregs[circuit_bits.index(register)], value)
        return self._boolean(circuit_bits, self.integer(0, 2))

    def _boolean(
        self, registers: Sequence[Register], depth: int
    ) -> tuple[str, Callable[[QuantumCircuit], Any]]:
        kind = self.integer(0, 9)
        if depth and kind >= 6:
            self.features.add("boolean operators")
            left, a = self._boolean(registers, depth - 1)
            right, b = self._boolean(registers, depth - 1)
            if kind == 9:
                return f"!({left})", lambda c: expr.logic_not(a(c))
            operator, make = self.choice(
                [("&&", expr.logic_and), ("||", expr.logic_or), ("!=", expr.not_equal), ("==", expr.equal)]
            )
            return f"(({left}) {operator} ({right}))", lambda c: make(a(c), b(c))
        plain = [r for r in registers if not r.alias]
        if kind >= 3 and any(not r.scalar for r in plain):
            self.features.add("register comparison")
            register = self.choice([r for r in plain if not r.scalar])
            value = self.integer(0, (1 << len(register.elements)) - 1)
            operator, make, mirrored = self.choice(
                [("==", expr.equal, "=="), ("!=", expr.not_equal, "!="), ("<", expr.less, ">"),
                 ("<=", expr.less_equal, ">="), (">", expr.greater, "<"), (">=", expr.greater_equal, "<=")]
            )  # fmt: skip
            written = f'"{value:0{len(register.elements)}b}"' if self.chance(2) else str(value)
            text = f"{register.name} {operator} {written}"
            if self.chance(3):
                text = f"{written} {mirrored} {register.name}"
            wide = types.Uint(len(register.elements))
            place = plain.index(register)
            return text, lambda c: make(c.cregs[place], expr.lift(value, wide))
        total = sum(len(r.elements) for r in plain)
        bit = self.integer(0, total - 1)
        name = self.operand(registers, bit)
        self.features.add("bit condition")
        form = self.integer(0, 4)
        text = [name, f"!{name}", f"{name} == 1", f"{name} == false", f"{name} != 0"][form]
        negated = form in {1, 3}
        return text, lambda c: expr.logic_not(c.clbits[bit]) if negated else expr.lift(c.clbits[bit])

    @contextmanager
    def nested(self, *, conditioned: bool = False) -> Iterator[tuple[list[str], list[Act]]]:
        """Statements for a body, apart from those of the program."""
        saved = self.lines, self.acts, self.conditioned
        self.lines, self.acts = [], []
        self.conditioned = self.conditioned or conditioned
        try:
            yield self.lines, self.acts
        finally:
            self.lines, self.acts, self.conditioned = saved

    def conditional(self, depth: int) -> None:
        if not self.dynamic:
            return
        text, make = self.condition([r for r in self.bits if self.version == 3 or not r.alias])
        with self.nested(conditioned=True) as (yes, yes_acts):
            for _ in range(1 if self.version == 2 else self.integer(1, 3)):
                self.step(depth - 1, simple=self.version == 2)
        if not yes:
            return
        no: list[str] = []
        no_acts: list[Act] = []
        if self.version == 3 and self.chance(4):
            self.features.add("else")
            with self.nested(conditioned=True) as (no, no_acts):
                for _ in range(self.integer(1, 2)):
                    self.step(depth - 1)
        body = yes[0] if self.version == 2 or (len(yes) == 1 and self.chance(4)) else f"{{ {' '.join(yes)} }}"
        otherwise = f" else {{ {' '.join(no)} }}" if no else ""
        if no and len(no) == 1 and self.chance(4):
            otherwise = f" else {no[0]}"
        if otherwise and body == yes[0] and body.startswith(("if", "for")):
            body = f"{{ {body} }}"

        def act(circuit: QuantumCircuit, env: Env) -> None:
            with circuit.if_test(make(circuit)) as otherwise_:
                for one in yes_acts:
                    one(circuit, env)
            if no_acts:
                with otherwise_:
                    for one in no_acts:
                        one(circuit, env)

        self.add(f"if ({text}) {body}{otherwise}", act)

    def loop(self, depth: int) -> None:
        if self.version == 2 or len(self.loops) > 1:
            return
        self.features.add("for")
        name = f"i{len(self.loops)}"
        low, high = self.integer(-1, 2), self.integer(1, 3)
        kind = self.integer(0, 3)
        if kind == 0:
            values: list[int] = [self.integer(0, 5) for _ in range(self.integer(1, 3))]
            head = f"{{{', '.join(map(str, values))}}}"
            self.features.add("for over a set")
        elif kind == 1:
            values = list(range(high, low - 2, -2))
            head = f"[{high}:-2:{low - 1}]"
            self.features.add("for over a stepped range")
        else:
            values = list(range(low, high + 1))
            head = f"[{low}:{high}]"
        saved = self.passes
        self.passes *= max(1, len(values))
        self.loops[name] = values or [0]
        with self.nested() as (body, acts):
            for _ in range(self.integer(1, 3)):
                self.step(depth - 1)
        del self.loops[name]
        self.passes = saved
        if not body:
            return

        def act(circuit: QuantumCircuit, env: Env) -> None:
            for value in values:
                for one in acts:
                    one(circuit, {**env, name: value})

        single = len(body) == 1 and values and self.chance(4)
        if single:
            self.features.add("for over one statement")
        kind_of = self.choice(["int", "uint[8]", "int[32]"]) if min(values, default=0) >= 0 else "int"
        self.add(f"for {kind_of} {name} in {head} {body[0] if single else '{ ' + ' '.join(body) + ' }'}", act)

    def step(self, depth: int = 2, *, simple: bool = False) -> None:
        """One statement."""
        kind = self.integer(0, 19)
        if kind >= 17 and depth > 0 and not simple:
            self.loop(depth) if kind == 17 else self.conditional(depth)
        elif kind in {15, 16} and not simple:
            self.middle()
        elif kind in {13, 14} and not simple:
            self.word()
        elif kind in {11, 12}:
            self.modified() if self.version == 3 else self.gate()
        elif kind == 10 and not simple:
            self.idle()
        elif kind in {8, 9} and not simple:
            self.broadcast()
        elif kind == 7 and not simple:
            self.phase()
        else:
            self.gate()

    # -- the whole

    def declare(self) -> None:
        """Version, include, registers, constants, inputs, aliases."""
        if self.version == 2:
            self.lines += ["OPENQASM 2.0;", 'include "qelib1.inc";']
        else:
            self.lines.append(f"OPENQASM {self.choice(['3', '3.0', '3.1'])};")
            if self.included:
                self.lines.append('include "stdgates.inc";')
        left, offset = self.n, 0
        while left:
            size = self.integer(1, left)
            self._register("q", len(self.qubits), size, offset)
            left, offset = left - size, offset + size
        left, offset = self.n, 0
        while left:
            size = self.integer(1, left)
            self._register("c", len(self.bits), size, offset)
            left, offset = left - size, offset + size
        if self.version == 3:
            self._names()

    def _register(self, letter: str, number: int, size: int, offset: int) -> None:
        quantum = letter == "q"
        registers = self.qubits if quantum else self.bits
        name = f"{letter}{number}" if number else letter
        scalar = False
        if self.version == 2 or self.chance(2):
            text = f"{'qreg' if quantum else 'creg'} {name}[{size}];"
        else:
            scalar = size == 1 and self.chance(5)
            text = f"{'qubit' if quantum else 'bit'}{'' if scalar else f'[{size}]'} {name};"
        registers.append(Register(name, tuple(range(offset, offset + size)), scalar))
        self.lines.append(text)

    def _names(self) -> None:
        for number in range(0 if self.portable else self.integer(0, 2)):
            text, value = self.angle(1)
            self.lines.append(f"const {self.choice(['float', 'angle', 'float[64]'])} k{number} = {text};")
            self.constants[f"k{number}"] = value(self.constants)
            self.features.add("const")
        if not self.portable and self.chance(3):
            self.lines.append("const int m = 2 * 3 - 4;")
            self.integers["m"] = 2
        if self.chance(2):
            self.lines.append("input float theta;")
            self.values["theta"] = 0.3
            self.features.add("input")
        if not self.portable and self.chance(4):
            places = self.sample(range(self.n), self.integer(1, self.n))
            half = self.integer(0, len(places) - 1)
            text = " ++ ".join(self._selection(part) for part in (places[:half], places[half:]) if part)
            self.lines.append(f"let both = {text};")
            self.qubits.append(Register("both", tuple(places), alias=True))
            self.features.add("alias")

    def _selection(self, places: Sequence[int]) -> str:
        """Elements as a concatenation of single ones."""
        return " ++ ".join(self.operand([r for r in self.qubits if not r.alias], q) for q in places)

    def write(self) -> Program:
        self.declare()
        head = len(self.lines)
        for _ in range(self.integer(3, 16)):
            if self.chance(2):
                self.define()
            else:
                self.step()
        if self.dynamic:
            self.finish()
        circuit = QuantumCircuit(QuantumRegister(self.n, "q"))
        for register in self.bits:
            if not register.alias:
                circuit.add_register(ClassicalRegister(len(register.elements), register.name))
        env: Env = {**self.constants, **self.integers, **self.values}
        for act in self.acts:
            act(circuit, env)
        separators = ["\n", "\n", " ", "\n// note; } {\n", " /* a\n b */ "]
        separator = self.choice(separators[: -1 if self.portable else None])
        text = "\n".join(self.lines[:head]) + "\n" + separator.join(self.lines[head:]) + "\n"
        return Program(
            text, circuit, self.version, self.values, self.dynamic, self.words, frozenset(self.features)
        )

    def finish(self) -> None:
        """Measurements at the end, one by one or as whole registers."""
        plain_qubits = [r for r in self.qubits if not r.alias]
        plain_bits = [r for r in self.bits if not r.alias]
        for source in plain_qubits:
            fitting = [r for r in plain_bits if len(r.elements) == len(source.elements)]
            if fitting and self.chance(5):
                target = self.choice(fitting)
                pairs = list(zip(source.elements, target.elements, strict=True))
                text = f"measure {source.name} -> {target.name};"
                if self.version == 3 and self.chance(5):
                    text = f"{target.name} = measure {source.name};"

                def act(circuit: QuantumCircuit, _: Env, pairs: list[tuple[int, int]] = pairs) -> None:
                    for qubit, bit in pairs:
                        circuit.measure(qubit, bit)

                self.add(text, act)
            elif self.chance(5):
                self.measure(source.elements[0], self.integer(0, self.n - 1))


def _controlled(count: int, value: int, matrix: Array) -> Array:
    """A matrix under controls that come before its operands."""
    for _ in range(count):
        on, off = _CONTROL[value], _CONTROL[1 - value]
        matrix = np.kron(matrix, on) + np.kron(np.eye(len(matrix)), off)
    return matrix


@st.composite
def programs(
    draw: Callable[[Any], Any],
    version: int,
    *,
    dynamic: bool | None = None,
    portable: bool = False,
    max_qubits: int = 6,
) -> Program:
    """Programs of one language; dynamic ones measure, reset and branch, the others have one unitary.

    Portable ones hold only what Qiskit's importers are known to take.
    """
    chosen = draw(st.booleans()) if dynamic is None else dynamic
    return _Writer(draw, version, dynamic=chosen, portable=portable, max_qubits=max_qubits).write()
