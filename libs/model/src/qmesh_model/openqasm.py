"""A normal form written as OpenQASM 3 that the mesh reads back as the same circuit, digest included.

Responsible for the text; catalogue gates that `stdgates.inc` lacks are written by modifiers where one is exact, else by
their names in the catalogue.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from qmesh_model import gates
from qmesh_model.circuit import (
    BitVersion,
    Circuit,
    Comparison,
    Condition,
    Kind,
    Logical,
    Operation,
    Register,
    RegisterComparison,
)
from qmesh_model.conditions import NEVER_WRITTEN
from qmesh_model.definitions import Primitive
from qmesh_model.limits import DEFAULT_LIMITS
from qmesh_model.parameters import Parameter, render
from qmesh_model.scope import KEYWORDS
from qmesh_model.words import OTHER_WORDS, fourier, fourier_size

_MODIFIED: Final = {
    "sxdg": "inv @ sx", "cs": "ctrl @ s", "csdg": "ctrl @ sdg", "csx": "ctrl @ sx", "ccz": "ctrl(2) @ z",
    "c3x": "ctrl(3) @ x", "c4x": "ctrl(4) @ x", "c3sqrtx": "ctrl(3) @ sx", "c2p": "ctrl(2) @ p", "c3p": "ctrl(3) @ p",
    "c4p": "ctrl(4) @ p", "c2u": "ctrl @ cu", "c3u": "ctrl(2) @ cu", "c4u": "ctrl(3) @ cu", "cu3": "ctrl @ U", "u": "U",
}  # fmt: skip
_COMPARISONS: Final = {
    Comparison.EQUAL: "==",
    Comparison.NOT_EQUAL: "!=",
    Comparison.LESS: "<",
    Comparison.LESS_EQUAL: "<=",
    Comparison.GREATER: ">",
    Comparison.GREATER_EQUAL: ">=",
}
_LOGICAL: Final = {Logical.AND: "&&", Logical.OR: "||", Logical.XOR: "^"}
_TAKEN: Final = frozenset({*KEYWORDS, *gates.GATES, *gates.ALIASES, *gates.UNITARY_WORDS, *OTHER_WORDS})
_DEEPEST: Final = DEFAULT_LIMITS.nesting
"""Blocks inside of one another that the reader takes."""
_SYMBOLS: Final = "input float {};"


class NotWritableError(ValueError):
    """A circuit that no text stands for: a condition reads versions of bits that are no longer the last ones."""


def write(circuit: Circuit) -> str:
    """The text of a circuit.

    Raises:
        NotWritableError: when no text says the same; of circuits that were read, those only whose branches rewrite bits that
            more than 32 conditions around them read.
    """
    return _Writer(circuit).run()


class _Writer:
    """Writes one circuit; `open` holds the conditions of the blocks that are open, outermost first."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.current = [NEVER_WRITTEN] * circuit.num_bits
        self.open: list[Condition] = []
        self.lines: list[str] = []
        self.uses = Counter(
            level
            for condition in {op.condition for op in circuit.operations if op.condition is not None}
            for level in _shared(condition)
        )
        self.elses = _elses(circuit)
        self.aliases: dict[tuple[int, ...], str] = {}
        taken = set(_TAKEN) | set(circuit.symbols)
        self.qubits = _Elements(circuit.qubit_registers, taken, "q")
        self.bits = _Elements(circuit.bit_registers, taken, "c")
        self.taken = taken

    def run(self) -> str:
        circuit = self.circuit
        position = 0
        while position < len(circuit.operations):
            operation = circuit.operations[position]
            if operation.kind is not Kind.BARRIER:
                self._enter(operation.condition, position)
            text, used = self._statement(position)
            self._line(text)
            for done in circuit.operations[position : position + used]:
                for each in done.writes:
                    self.current[each.bit] = each.version
            position += used
        while self.open:
            self._leave()
        if circuit.global_phase != 0.0:
            self._line(f"gphase({render(circuit.global_phase)});")
        head = ["OPENQASM 3.0;", 'include "stdgates.inc";']
        head += [_SYMBOLS.format(name) for name in circuit.symbols]
        head += [f"qubit[{size}] {name};" for name, size in self.qubits.registers]
        head += [f"bit[{size}] {name};" for name, size in self.bits.registers]
        head += [f"let {name} = {self._joined(bits)};" for bits, name in self.aliases.items()]
        return "\n".join([*head, *self.lines]) + "\n"

    def _line(self, text: str) -> None:
        self.lines.append("  " * len(self.open) + text)

    # -- blocks

    def _enter(self, condition: Condition | None, position: int) -> None:
        """Leaves and opens blocks until exactly this condition holds."""
        wanted = _levels(condition) if condition is not None else []
        whole = [k for k, level in enumerate(wanted) if self._has_whole_else(level, position)]
        wanted = wanted[whole[-1] if whole else 0 :]
        if len(wanted) > _DEEPEST:
            wanted = wanted[-1:]
        left: Condition | None = None
        while self.open and self.open[-1] not in wanted:
            left = self._leave()
        for level in wanted[wanted.index(self.open[-1]) + 1 if self.open else 0 :]:
            outer = self.open[-1] if self.open else None
            if left is not None and level == _other_branch(outer, left):
                self.lines[-1] += " else {"
                self.open.append(level)
            elif level == condition or self.open or self.uses[level] > 1:
                if len(self.open) >= _DEEPEST:
                    raise NotWritableError(f"blocks would be nested more than {_DEEPEST} deep")
                self._line(f"if ({self._condition(_own(outer, level))}) {{")
                self.open.append(level)
            left = None

    def _has_whole_else(self, level: Condition, position: int) -> bool:
        """Whether the next `else` of a condition is that of the whole, so that its block has to be one `if`."""
        following = self.elses.get(level, [])
        place = bisect_right(following, (position, True))
        return place < len(following) and following[place][1]

    def _leave(self) -> Condition:
        condition = self.open.pop()
        self._line("}")
        return condition

    def _condition(self, condition: Condition) -> str:
        """Text of a condition; a chain of one operator nests no parentheses, however long it is."""
        stack: list[tuple[str, Logical | None]] = []
        for step in condition.steps:
            if isinstance(step, BitVersion):
                stack.append((self._truth(step.version), None))
            elif isinstance(step, RegisterComparison):
                text = f"{self._register(step.versions)} {_COMPARISONS[step.comparison]} {step.value}"
                stack.append((text if len(condition.steps) == 1 else f"({text})", None))
            elif step is Logical.NOT:
                stack.append((f"!{_inner(*stack.pop())}", None))
            else:
                right, (left, kind) = stack.pop(), stack.pop()
                begun = left if kind is step else _inner(left, kind)
                stack.append((f"{begun} {_LOGICAL[step]} {_inner(*right)}", step))
        return stack[0][0]

    def _truth(self, version: int) -> str:
        return self.bits.names[self._bits_of((version,))[0]]

    def _bits_of(self, versions: Sequence[int]) -> tuple[int, ...]:
        """Bits whose last versions these are; any fitting bits for versions that were never written."""
        found: list[int] = []
        for version in versions:
            fitting = (b for b, v in enumerate(self.current) if v == version and b not in found)
            bit = next(fitting, None)
            if bit is None:
                raise NotWritableError(f"no bit holds version {version} any more")
            found.append(bit)
        return tuple(found)

    def _register(self, versions: tuple[int, ...]) -> str:
        offset = 0
        for name, size in self.bits.registers:
            if tuple(self.current[offset : offset + size]) == versions:
                return name
            offset += size
        return self._alias(self._bits_of(versions))

    def _alias(self, bits: tuple[int, ...]) -> str:
        """A name for several bits; one for each list of bits."""
        if bits not in self.aliases:
            self.aliases[bits] = _free("bits", self.taken)
        return self.aliases[bits]

    def _joined(self, bits: Sequence[int]) -> str:
        return " ++ ".join(self.bits.names[bit] for bit in bits)

    # -- statements

    def _statement(self, position: int) -> tuple[str, int]:
        """One statement, and how many operations it stands for.

        A transform begins with `h` and one `cp` for each further qubit; its inverse with one `swap` for each pair.
        """
        operations = self.circuit.operations
        operation = operations[position]
        if operation.name == "swap":
            swaps = self._run(position, "swap", operation.service_type)
            for width in (2 * swaps + 1, 2 * swaps):
                found = self._fourier(position, width, "iqft")
                if found is not None:
                    return found
        elif operation.service_type == "qft":
            found = self._fourier(position, 1 + self._run(position + 1, "cp", "qft"), "qft")
            if found is not None:
                return found
        if operation.service_type == "qft":
            raise NotWritableError(f"operation {position} is a part of no Fourier transform")
        return self._plain(operation), 1

    def _run(self, position: int, name: str, service: str) -> int:
        """How many operations of one name and service follow, as far as a transform could need them."""
        operations, most = self.circuit.operations, self.circuit.num_qubits
        stop = min(position + most, len(operations))
        return next(
            (
                k - position
                for k in range(position, stop)
                if operations[k].name != name or operations[k].service_type != service
            ),
            stop - position,
        )

    def _fourier(self, position: int, width: int, word: str) -> tuple[str, int] | None:
        """A Fourier transform that begins here."""
        size = fourier_size(width)
        part = self.circuit.operations[position : position + size]
        first = position + width // 2 if word == "iqft" else position
        if width > self.circuit.num_qubits or len(part) < size:
            return None
        if self.circuit.operations[first].service_type != "qft":
            return None
        places = _matched(part, fourier(width, inverse=word == "iqft"), width)
        if places is None:
            return None
        return f"{word} {', '.join(self.qubits.names[q] for q in places)};", size

    def _plain(self, operation: Operation) -> str:
        where = ", ".join(self.qubits.names[q] for q in operation.qubits)
        match operation.kind:
            case Kind.MEASURE:
                return f"{self.bits.names[operation.writes[0].bit]} = measure {where};"
            case Kind.RESET | Kind.BARRIER:
                return f"{operation.kind.name.lower()} {where};"
            case Kind.DELAY:
                return f"delay[{render(operation.parameters[0])}s] {where};"
            case Kind.SYNDROME:
                target = tuple(write.bit for write in operation.writes)
                return f"syndrome_extraction {where}{f' -> {self._alias(target)}' if target else ''};"
            case Kind.DISTILLATION:
                return f"distillation{'(dejmps)' if operation.name.endswith('dejmps') else ''} {where};"
            case _:
                angles = _angles(operation.parameters)
                return f"{_MODIFIED.get(operation.name, operation.name)}{angles} {where};"


class _Elements:
    """Names of registers, renamed where the language takes them, and of all of their elements."""

    def __init__(self, registers: Sequence[Register], taken: set[str], letter: str) -> None:
        self.registers: list[tuple[str, int]] = []
        self.names: list[str] = []
        for register in registers:
            plain = register.name.isascii() and register.name not in taken
            name = register.name if plain else _free(letter, taken)
            taken.add(name)
            self.registers.append((name, register.size))
            self.names += [f"{name}[{k}]" for k in range(register.size)]


def _free(stem: str, taken: set[str]) -> str:
    number = 0
    while f"{stem}{number}" in taken:
        number += 1
    taken.add(f"{stem}{number}")
    return f"{stem}{number}"


def _angles(params: tuple[Parameter, ...]) -> str:
    return f"({', '.join(map(render, params))})" if params else ""


def _inner(text: str, kind: Logical | None) -> str:
    """A part of a condition, in parentheses when an operator joins it."""
    return text if kind is None else f"({text})"


def _shared(condition: Condition) -> set[Condition]:
    """Conditions of blocks that would hold this one: its own levels, and those whose `else` a level is."""
    return {*_levels(condition), *(plain for plain, _ in _negations(condition))}


def _elses(circuit: Circuit) -> dict[Condition, list[tuple[int, bool]]]:
    """Operations by the condition whose `else` they are in, and whether it is that of the whole condition."""
    found: dict[Condition, list[tuple[int, bool]]] = {}
    known: dict[Condition, list[tuple[Condition, bool]]] = {}
    for index, operation in enumerate(circuit.operations):
        condition = operation.condition
        if condition is None:
            continue
        if condition not in known:
            known[condition] = list(_negations(condition))
        for plain, whole in known[condition]:
            found.setdefault(plain, []).append((index, whole))
    return found


def _negations(condition: Condition) -> Iterator[tuple[Condition, bool]]:
    """What the levels of a condition are the `else` of; true for that of a whole condition."""
    outer: Condition | None = None
    for level in _levels(condition):
        own = _own(outer, level)
        if own.steps[-1] is Logical.NOT:
            plain = Condition(own.steps[:-1])
            yield (plain, True) if outer is None else (outer.both(plain), False)
        outer = level


def _levels(condition: Condition) -> list[Condition]:
    """A condition as nested ones, outermost first: `a && b` holds where `b` does inside of `a`."""
    found = [condition]
    while (parts := _split(found[-1])) is not None:
        found.append(parts[0])
    return found[::-1]


def _split(condition: Condition) -> tuple[Condition, Condition] | None:
    """Both sides of a conjunction."""
    steps = condition.steps
    if steps[-1] is not Logical.AND:
        return None
    missing, place = 1, len(steps) - 1
    while missing:
        place -= 1
        step = steps[place]
        missing += -1 if not isinstance(step, Logical) else (0 if step is Logical.NOT else 1)
    return Condition(steps[:place]), Condition(steps[place:-1])


def _own(outer: Condition | None, condition: Condition) -> Condition:
    """What a condition adds to that of the block around it."""
    if outer is None:
        return condition
    return Condition(condition.steps[len(outer.steps) : -1])


def _other_branch(outer: Condition | None, left: Condition | None) -> Condition | None:
    """The condition of the `else` of a block that has just been left."""
    if left is None:
        return None
    negated = _own(outer, left).negated()
    return negated if outer is None else outer.both(negated)


def _matched(
    operations: Sequence[Operation], steps: Sequence[Primitive], width: int
) -> tuple[int, ...] | None:
    """Qubits at the positions of a transform, if operations are its steps."""
    places: dict[int, int] = {}
    for operation, step in zip(operations, steps, strict=True):
        if (
            step.gate is None
            or operation.name != step.gate.name
            or operation.parameters != step.params
            or operation.condition != operations[0].condition
        ):
            return None
        for position, qubit in zip(step.operands, operation.qubits, strict=True):
            if places.setdefault(position, qubit) != qubit:
                return None
    found = tuple(places.get(k, -1) for k in range(width))
    return found if len(set(found)) == width and -1 not in found else None
