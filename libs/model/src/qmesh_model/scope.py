"""Names that a text declares: registers, constants, inputs and gates.

Responsible for declaration and look-up with their diagnostics; values are the parser's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from qmesh_model import gates
from qmesh_model.circuit import Register
from qmesh_model.definitions import Definition
from qmesh_model.nearest import Nearest
from qmesh_model.parameters import Parameter
from qmesh_model.quoting import quoted
from qmesh_model.segments import Fault

KEYWORDS: Final = frozenset(
    [
        "OPENQASM",
        "include",
        "qreg",
        "creg",
        "qubit",
        "bit",
        "gate",
        "opaque",
        "measure",
        "reset",
        "barrier",
        "if",
        "else",
        "for",
        "while",
        "in",
        "let",
        "const",
        "input",
        "output",
        "def",
        "defcal",
        "defcalgrammar",
        "cal",
        "extern",
        "box",
        "return",
        "break",
        "continue",
        "end",
        "switch",
        "case",
        "default",
        "delay",
        "stretch",
        "duration",
        "durationof",
        "pragma",
        "int",
        "uint",
        "float",
        "angle",
        "complex",
        "bool",
        "array",
        "readonly",
        "mutable",
        "void",
        "ctrl",
        "negctrl",
        "inv",
        "pow",
        "pi",
        "tau",
        "euler",
        "true",
        "false",
        "sin",
        "cos",
        "tan",
        "exp",
        "ln",
        "sqrt",
        "U",
        "gphase",
    ]
)
"""Words that no declaration may take."""

_SUGGESTIONS: Final = 200
_SHORT: Final = 20
_KINDS: Final = {
    "qubit": "a qubit register",
    "bit": "a bit register",
    "const": "a constant",
    "input": "an input",
    "gate": "a gate",
    "formal": "a qubit of the gate",
    "angle": "a parameter of the gate",
}


@dataclass(slots=True)
class Declared:
    """One declared name.

    Attributes:
        kind: "qubit", "bit", "const", "input", "gate"; inside a gate body also "formal" and "angle".
        start: offset of the name in its declaration.
        end: offset after it.
        register: of a register; its offset counts over all registers of its kind.
        scalar: declared without a size.
        value: of a constant (int or float) or an input; position of a formal qubit.
        definition: of a gate.
        elements: of an alias, in the circuit.
    """

    kind: str
    start: int
    end: int
    register: Register | None = None
    scalar: bool = False
    value: Parameter | int = 0
    definition: Definition | None = None
    elements: tuple[int, ...] | None = None
    _whole: tuple[int, ...] | None = None

    def whole(self) -> tuple[int, ...]:
        """All elements of a register or an alias, in the circuit; one tuple, however often it is named."""
        if self.elements is not None or self.register is None:
            return self.elements or ()
        if self._whole is None:
            self._whole = tuple(range(self.register.offset, self.register.offset + self.register.size))
        return self._whole


@dataclass(slots=True)
class Scope:
    """All names of a text.

    Attributes:
        names: declared names.
        library: names that the includes declared.
        broken: names whose declaration was faulty; using them is no further error.
        outer: scope around a gate body.
        old: the text is OpenQASM 2.
        nearest: finds names that were probably meant.
    """

    names: dict[str, Declared] = field(default_factory=dict)
    library: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    outer: Scope | None = None
    old: bool = False
    nearest: Nearest = field(default_factory=Nearest)

    def lookup(self, name: str) -> Declared | None:
        """The declaration of a name, or None; a gate body sees constants and gates of the text around it."""
        entry = self.names.get(name)
        if entry is not None or self.outer is None:
            return entry
        entry = self.outer.names.get(name)
        return entry if entry is not None and entry.kind in {"const", "gate"} else None

    def declare(self, name: str, entry: Declared) -> None:
        """Adds a name.

        Raises:
            Fault: when it is taken or a keyword.
        """
        self.check_free(name, entry.start, entry.end)
        self.names[name] = entry

    def check_free(self, name: str, start: int, end: int) -> None:
        """Checks that a name can be declared.

        Raises:
            Fault: when it is taken or a keyword.
        """
        if name in KEYWORDS:
            raise Fault(
                "QASM224", f"{quoted(name)} is a word of the language", start, end, hint="choose another name"
            )
        before = self.names.get(name)
        if before is not None:
            raise Fault(
                "QASM211",
                f"{quoted(name)} is declared twice",
                start,
                end,
                other=(before.start, before.end, "first declared here"),
                hint="choose another name",
            )
        if name in self.library or name in gates.BUILTIN:
            raise Fault(
                "QASM211",
                f"{quoted(name)} is already declared by the include",
                start,
                end,
                hint="choose another name, or remove this definition",
            )

    def find(self, name: str, start: int, end: int, *, wanted: str) -> Declared:
        """The declaration of a name.

        Args:
            name: the name.
            start: offset of its use.
            end: offset after it.
            wanted: kinds that fit, separated by blanks.

        Raises:
            Fault: when it is not declared, or is something else.
        """
        kinds = wanted.split()
        entry = self.lookup(name)
        if entry is None:
            if name in self.broken:
                raise Fault("", "", start, end)
            near = self.nearest.find(
                name, (n for n, e in islice(self.names.items(), _SUGGESTIONS) if e.kind in kinds)
            )
            hint = f"did you mean `{near}`?" if near else self._declaration(name, kinds[0])
            raise Fault("QASM210", f"{quoted(name)} is not declared", start, end, hint=hint)
        if entry.kind not in kinds:
            raise Fault(
                "QASM217",
                f"{quoted(name)} is {_KINDS[entry.kind]}, but {_KINDS[kinds[0]]} is needed here",
                start,
                end,
                other=(entry.start, entry.end, "declared here"),
                hint=self._example(kinds[0]),
            )
        return entry

    def _declaration(self, name: str, kind: str) -> str:
        """How a missing name would be declared."""
        short = name if len(name) <= _SHORT and name.isascii() else "r"
        forms = {
            "qubit": f"`qreg {short}[2];`" if self.old else f"`qubit[2] {short};`",
            "bit": f"`creg {short}[2];`" if self.old else f"`bit[2] {short};`",
            "const": f"`const float {short} = 0.5;` or `input float {short};`",
            "formal": f"`{short}` among the qubits in the head of the gate",
        }
        if kind == "const" and self.outer is not None:
            return f"name `{short}` among the parameters in the head of the gate"
        if kind == "const" and self.old:
            return "write its value: OpenQASM 2 has no constants"
        return f"declare {forms[kind]} before this line" if kind != "formal" else f"name {forms[kind]}"

    def _example(self, kind: str) -> str:
        """Another name that would fit."""
        found = next((n for n, e in islice(self.names.items(), _SUGGESTIONS) if e.kind == kind), None)
        what = _KINDS.get(kind, kind)
        return f"name {what}, for example `{found}`" if found else f"name {what}"
