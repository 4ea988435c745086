"""OpenQASM 2 and 3, and the service words of the mesh, into the normal form.

What is not understood is refused with code, place and hint; nothing is guessed and nothing is dropped. No recursion is
driven by the text: blocks are kept on a stack, expressions are read by precedence. OpenQASM 3 definitions follow the
live specification; OpenQASM 2 follows Cross et al., arXiv:1707.03429.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from qmesh_model import gates
from qmesh_model.builder import Builder
from qmesh_model.circuit import Circuit, Condition, Kind
from qmesh_model.conditions import ConditionReader
from qmesh_model.diagnostics import MAX_DIAGNOSTICS, CircuitError, Diagnostic
from qmesh_model.expressions import ExpressionReader
from qmesh_model.lexer import END, Source, Token, tokenize, visible
from qmesh_model.limits import DEFAULT_LIMITS, Limits
from qmesh_model.operands import Operand, Scope
from qmesh_model.parameters import Expression, Parameter
from qmesh_model.words import WORDS, expand_word

_REFUSED = {
    "while": "loops whose end is not known beforehand cannot be planned",
    "for": "write the iterations out",
    "def": "write the body out where it is called",
    "extern": "classical functions cannot be called from a circuit here",
    "defcal": "pulse definitions belong to a machine, not to a circuit",
    "defcalgrammar": "pulse definitions belong to a machine, not to a circuit",
    "cal": "pulse definitions belong to a machine, not to a circuit",
    "box": "timing boxes are not supported",
    "let": "aliases are not supported: name the qubits themselves",
    "gate": "user gates are not supported: write the body out",
    "opaque": "an opaque gate has no meaning that could be executed",
    "pragma": "pragmas are not supported",
    "switch": "write if/else",
    "ctrl": "gate modifiers are not supported: use a controlled gate such as cx, ccx, cp or cu",
    "negctrl": "gate modifiers are not supported: use x around a controlled gate",
    "inv": "gate modifiers are not supported: use the inverse gate, such as sdg or tdg",
    "pow": "gate modifiers are not supported: use a rotation",
    "duration": "timing is not supported",
    "stretch": "timing is not supported",
    "int": "classical variables are not supported, besides bits and constants",
    "uint": "classical variables are not supported, besides bits and constants",
    "float": "classical variables are not supported, besides const",
    "angle": "classical variables are not supported, besides const",
    "bool": "classical variables are not supported, besides bits and constants",
    "complex": "classical variables are not supported, besides bits and constants",
    "array": "arrays are not supported",
    "output": "results are the classical bits",
    "return": "subroutines are not supported",
    "break": "loops are not supported",
    "continue": "loops are not supported",
    "end": "a circuit ends with its text",
    "nop": "write nothing",
    "durationof": "timing is not supported",
}
_VERSION = re.compile(r"(2|3)(\.\d+)?")
_COMMA = frozenset({",", ")"})
_SEMICOLON = frozenset({";"})
_BRACKET = frozenset({"]"})


class _Refused(Exception):  # noqa: N818 - a signal inside this module
    """One finding; parsing goes on after the statement."""

    def __init__(self, finding: Diagnostic, *, resumes: bool = False) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.resumes = resumes


class _Block:
    """An open `if` or `else`."""

    def __init__(self, condition: Condition, outer: Condition | None, *, braces: bool, otherwise: bool) -> None:
        self.condition = condition
        self.outer = outer
        self.braces = braces
        self.otherwise = otherwise


def parse(text: str, limits: Limits = DEFAULT_LIMITS) -> Circuit:
    """The normal form of a text.

    Args:
        text: OpenQASM 2 or 3, service words included.
        limits: bounds, checked before anything of their size is made.

    Raises:
        CircuitError: with up to 20 findings.
    """
    return _Parser(text, limits).parse()


class _Parser:
    def __init__(self, text: str, limits: Limits) -> None:
        self._source = Source(text)
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > limits.text_bytes:
            message = f"the text has {size} bytes, more than {limits.text_bytes}"
            raise CircuitError([Diagnostic("MESH101", message, 1, 1, 2)])
        self._limits = limits
        self._tokens = tokenize(self._source, limits)
        self._at = 0
        self._findings: list[Diagnostic] = []
        self._version = ""
        self._scope = Scope(limits)
        self._builder = Builder()
        self._blocks: list[_Block] = []
        self._condition: Condition | None = None
        self._constants: dict[str, float] = {}
        self._inputs: set[str] = set()
        self._included = False
        self._warned = False

    # -- tokens ------------------------------------------------------------------------------------------------

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != END:
            self._at += 1
        return token

    def _is(self, text: str) -> bool:
        token = self._token
        return token.text == text and token.kind in {"op", "name"}

    def _take(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str, after: str = "") -> Token:
        token = self._token
        if not self._is(text):
            if text == ";" and self._at:
                raise self._missing_semicolon()
            where = f" {after}" if after else ""
            raise self._fail("QASM203", f"expected '{text}'{where}, found {self._shown(token)}", token)
        return self._next()

    def _missing_semicolon(self) -> _Refused:
        before = self._tokens[self._at - 1]
        end = before.offset + len(before.text)
        message = f"a ';' is missing after '{visible(before.text)}'"
        finding = self._source.finding("QASM203", message, end, end + 1, "end the statement with ;")
        return _Refused(finding, resumes=True)

    @staticmethod
    def _shown(token: Token) -> str:
        return f"'{visible(token.text)}'" if token.kind != END else "the end of the text"

    def _name(self, what: str) -> Token:
        token = self._token
        if token.kind != "name":
            raise self._fail("QASM203", f"expected {what}, found {self._shown(token)}", token)
        return self._next()

    def _fail(self, code: str, message: str, token: Token, hint: str = "") -> _Refused:
        span = self._source.of_token(token)
        return _Refused(Diagnostic(code, message, span.line, span.column, span.end_column, hint))

    # -- statements --------------------------------------------------------------------------------------------

    def parse(self) -> Circuit:
        self._guarded(self._header)
        while self._token.kind != END and len(self._findings) < MAX_DIAGNOSTICS:
            self._guarded(self._statement)
        if not self._findings and any(block.braces for block in self._blocks):
            self._findings.append(self._fail("QASM203", "a block is not closed", self._token, "add }").finding)
        if not self._findings and not self._scope.num_qubits:
            finding = Diagnostic("MESH113", "the circuit declares no qubit", 1, 1, 2, "declare one: qubit[2] q;")
            self._findings.append(finding)
        if self._findings:
            raise CircuitError(self._findings)
        return self._builder.finish(self._scope, self._inputs, self._version)

    def _guarded(self, step: object) -> None:
        begun = self._at
        try:
            step()  # type: ignore[operator] # one of this class's methods
        except _Refused as refused:
            self._findings.append(refused.finding)
            if not refused.resumes or self._at == begun:
                self._recover(begun)
            while self._blocks and not self._blocks[-1].braces:
                self._condition = self._blocks.pop().outer

    def _recover(self, begun: int) -> None:
        """Goes on after the statement's ';', or at the next '}'."""
        if self._at > begun and self._tokens[self._at - 1].text == ";":
            return
        while self._token.kind != END:
            if self._take(";"):
                break
            if self._is("}") or self._is("{"):
                if self._is("{"):
                    self._skip_block()
                    break
                break
            self._at += 1

    def _skip_block(self) -> None:
        depth = 0
        while self._token.kind != END:
            if self._is("{"):
                depth += 1
            elif self._is("}"):
                depth -= 1
                if not depth:
                    self._at += 1
                    return
            self._at += 1

    def _header(self) -> None:
        token = self._token
        if not self._is("OPENQASM"):
            raise self._fail(
                "QASM201", "the first statement must be the version", token, "begin with: OPENQASM 3.0;"
            )
        self._next()
        version = self._token
        if version.kind not in {"int", "float"} or not _VERSION.fullmatch(version.text):
            raise self._fail("QASM202", f"version {self._shown(version)} is not supported", version, "2.0 or 3.0")
        self._next()
        self._version = version.text if "." in version.text else f"{version.text}.0"
        self._expect(";")

    def _statement(self) -> None:
        token = self._token
        if token.text == "}" and token.kind == "op":
            self._close()
            return
        if token.kind == "op" and token.text == ";":
            self._next()
            return
        if token.kind == "op" and token.text in {"@", "#"}:
            hint = "remove the annotation" if token.text == "@" else "pragmas are not supported"
            raise self._fail("QASM208", "annotations and pragmas are not supported", token, hint)
        if token.kind != "name":
            raise self._fail("QASM203", f"a statement cannot begin with {self._shown(token)}", token)
        handler = getattr(self, f"_on_{token.text}", None) if token.text in _STATEMENTS else None
        if handler is not None:
            handler()
        elif token.text in _REFUSED:
            raise self._fail("QASM208", f"'{token.text}' is not supported", token, _REFUSED[token.text])
        elif self._assigns():
            self._assignment()
        else:
            self._application()
        if not handler or token.text != "if":
            self._end_single()

    def _assigns(self) -> bool:
        """Whether the statement is `bits = measure ...`."""
        position = self._at + 1
        if self._tokens[position].text == "[":
            while self._tokens[position].text not in {"]", ";", "{", ""}:
                position += 1
            position += 1
        return position < len(self._tokens) and self._tokens[position].text == "="

    def _on_OPENQASM(self) -> None:  # noqa: N802 - named by its keyword
        raise self._fail("QASM203", "the version is stated once, at the beginning", self._token)

    def _on_include(self) -> None:
        self._next()
        token = self._token
        if token.kind != "string":
            raise self._fail("QASM203", f"expected a file name, found {self._shown(token)}", token)
        name = token.text[1:-1]
        wanted = "qelib1.inc" if self._version.startswith("2") else "stdgates.inc"
        if name not in {"qelib1.inc", "stdgates.inc"}:
            message = "only the standard library can be included; no file is ever read"
            raise self._fail("QASM206", message, token, f'include "{wanted}";')
        if name != wanted:
            message = f"{name} belongs to the other version of OpenQASM"
            raise self._fail("QASM207", message, token, f'include "{wanted}";')
        self._next()
        self._included = True
        self._expect(";")

    # -- declarations ------------------------------------------------------------------------------------------

    def _on_qreg(self) -> None:
        self._old_register(quantum=True)

    def _on_creg(self) -> None:
        self._old_register(quantum=False)

    def _old_register(self, *, quantum: bool) -> None:
        self._top_level()
        self._next()
        name = self._name("a register name")
        size = self._size() if self._is("[") else 1
        self._declare(name, size, quantum=quantum, scalar=False)
        self._expect(";")

    def _on_qubit(self) -> None:
        self._new_register(quantum=True)

    def _on_bit(self) -> None:
        self._new_register(quantum=False)

    def _new_register(self, *, quantum: bool) -> None:
        self._top_level()
        keyword = self._next()
        if self._version.startswith("2"):
            old = "qreg" if quantum else "creg"
            raise self._fail("QASM207", f"'{keyword.text}' is OpenQASM 3", keyword, f"write {old} name[size];")
        size = self._size() if self._is("[") else None
        name = self._name("a register name")
        self._declare(name, size or 1, quantum=quantum, scalar=size is None)
        if not quantum and self._is("="):
            self._at -= 1
            self._assignment()
            return
        self._expect(";")

    def _top_level(self) -> None:
        if self._blocks:
            raise self._fail("QASM203", "declarations stand outside of blocks", self._token)

    def _declare(self, name: Token, size: int, *, quantum: bool, scalar: bool) -> None:
        if name.text in _STATEMENTS or name.text in _REFUSED or gates.resolve(name.text) is not None:
            raise self._fail("QASM302", f"'{name.text}' has a meaning of its own", name, "choose another name")
        problem = self._scope.declare(name.text, size, quantum=quantum, scalar=scalar)
        if name.text in self._constants or name.text in self._inputs:
            problem = ("QASM302", f"'{name.text}' is declared already")
        if problem is not None:
            raise self._fail(problem[0], problem[1], name)

    def _size(self) -> int:
        self._expect("[")
        token = self._token
        value = self._integer(_BRACKET)
        self._expect("]")
        if value < 1:
            raise self._fail("QASM303", f"a register has at least one element, not {value}", token)
        return value

    def _on_const(self) -> None:
        self._top_level()
        self._next()
        kind = self._name("a type")
        if kind.text not in {"int", "uint", "float", "angle"}:
            raise self._fail("QASM208", f"constants of type '{visible(kind.text)}' are not supported", kind)
        if self._is("["):
            self._size()
        name = self._name("a name")
        self._expect("=")
        token = self._token
        value = self._expression(_SEMICOLON)
        if isinstance(value, Expression):
            raise self._fail("QASM310", "a constant cannot depend on an input", token)
        if self._known(name.text):
            raise self._fail("QASM302", f"'{name.text}' is declared already", name)
        self._constants[name.text] = value
        self._expect(";")

    def _on_input(self) -> None:
        self._top_level()
        self._next()
        kind = self._name("a type")
        if kind.text not in {"float", "angle"}:
            raise self._fail("QASM208", f"inputs of type '{visible(kind.text)}' are not supported", kind,
                             "declare input float or input angle")
        if self._is("["):
            self._size()
        name = self._name("a name")
        if self._known(name.text):
            raise self._fail("QASM302", f"'{name.text}' is declared already", name)
        self._inputs.add(name.text)
        self._expect(";")

    def _known(self, name: str) -> bool:
        return name in self._constants or name in self._inputs or self._scope.find(name) is not None

    # -- expressions and operands ------------------------------------------------------------------------------

    def _expression(self, stops: frozenset[str]) -> Parameter:
        reader = ExpressionReader(
            self._tokens, self._limits, self._constants, frozenset(self._inputs), self._fail
        )
        value, self._at = reader.read(self._at, stops)
        return value

    def _integer(self, stops: frozenset[str]) -> int:
        token = self._token
        value = self._expression(stops)
        if isinstance(value, Expression) or value != int(value):
            raise self._fail("QASM310", "a whole number is needed here", token)
        return int(value)

    def _operand(self, *, quantum: bool) -> Operand:
        """One operand: a register, an element, a range or a set."""
        token = self._token
        if token.text == "$":
            raise self._fail("QASM208", "physical qubits are not supported", token, "declare a register")
        name = self._name("a qubit" if quantum else "a classical bit")
        register = self._scope.find(name.text)
        if register is None:
            close = get_close_matches(name.text, self._scope.names(), 1)
            hint = f"did you mean '{close[0]}'?" if close else "declare it first"
            raise self._fail("QASM301", f"'{visible(name.text)}' is not declared", name, hint)
        if register.quantum != quantum:
            found, wanted = ("a qubit", "a classical bit") if register.quantum else ("a classical bit", "a qubit")
            raise self._fail("QASM308", f"'{name.text}' is {found}, {wanted} is needed here", name)
        if not self._is("["):
            single = register.scalar
            return Operand(tuple(range(register.offset, register.offset + register.size)), single, name)
        self._next()
        chosen, single = self._indices(register.size)
        self._expect("]")
        return Operand(tuple(register.offset + index for index in chosen), single, name)

    def _indices(self, size: int) -> tuple[list[int], bool]:
        if self._take("{"):
            chosen = [self._index(size, frozenset({",", "}"}))]
            while self._take(","):
                chosen.append(self._index(size, frozenset({",", "}"})))
            self._expect("}")
            return chosen, False
        ends = frozenset({"]", ":"})
        if self._is(":"):
            first = 0
        else:
            first = self._index(size, ends)
            if self._is("]"):
                return [first], True
        return self._range(first, size), False

    def _range(self, first: int, size: int) -> list[int]:
        """`a:b` and `a:step:b`, ends included."""
        colon = self._expect(":")
        if self._is("]"):
            return list(range(first, size))
        before = self._at
        second = self._integer(frozenset({"]", ":"}))
        if not self._take(":"):
            self._at = before
            return list(range(first, self._index(size, _BRACKET) + 1))
        if not second:
            raise self._fail("QASM303", "a range needs a step other than 0", colon)
        last = self._index(size, _BRACKET)
        return list(range(first, last + (1 if second > 0 else -1), second))

    def _index(self, size: int, stops: frozenset[str]) -> int:
        token = self._token
        value = self._integer(stops)
        if not -size <= value < size:
            raise self._fail("QASM303", f"index {value} is outside of a register of size {size}", token,
                             f"use 0 to {size - 1}")
        return value % size

    def _operands(self, *, quantum: bool, ends: frozenset[str]) -> list[Operand]:
        found = [self._operand(quantum=quantum)]
        while self._take(","):
            found.append(self._operand(quantum=quantum))
        if self._token.text not in ends:
            self._expect(";")
        return found

    # -- operations --------------------------------------------------------------------------------------------

    def _budget(self, count: int, token: Token) -> None:
        total = self._builder.count + count
        if total > self._limits.operations:
            message = f"the circuit has more than {self._limits.operations} operations"
            raise self._fail("MESH102", message, token)

    def _application(self) -> None:
        token = self._next()
        word = WORDS.get(token.text.lower())
        gate = gates.resolve(token.text)
        if word is None and gate is None and token.text != "gphase":
            raise self._unknown(token)
        if word is None and self._is("@"):
            raise self._fail("QASM208", "gate modifiers are not supported", token)
        parameters = self._parameters()
        if token.text == "gphase":
            self._global_phase(token, parameters)
            return
        operands = self._operands(quantum=True, ends=frozenset({";", "->"}))
        if word is not None:
            targets = self._operands(quantum=False, ends=_SEMICOLON) if self._take("->") else []
            self._expect(";")
            problem = expand_word(
                word, self._builder, token, parameters, operands, targets, self._condition,
                self._source.of_token(token), lambda n: self._budget(n, token),
            )
            if problem is not None:
                raise self._fail(problem[0], problem[1], problem[2] or token, problem[3])
            return
        self._expect(";")
        assert gate is not None  # noqa: S101 - refused above
        self._warn_include(token)
        if gate.name == "u0":
            gate, parameters = gates.GATES["id"], ()
        if len(parameters) != gate.num_params:
            raise self._fail("QASM305", _counted(token.text, "parameter", gate.num_params, len(parameters)), token)
        self._broadcast(gate.name, gate.num_qubits, parameters, operands, token)

    def _unknown(self, token: Token) -> _Refused:
        if self._scope.find(token.text) is not None:
            return self._fail("QASM308", f"'{token.text}' is a register, not a gate", token)
        known = [*gates.GATES, *gates.ALIASES, *WORDS, *_STATEMENTS]
        close = get_close_matches(token.text, known, 1) or get_close_matches(token.text.lower(), known, 1)
        hint = f"did you mean '{close[0]}'?" if close else "only gates of the standard library and service words exist"
        return self._fail("QASM307", f"there is no gate '{visible(token.text)}'", token, hint)

    def _warn_include(self, token: Token) -> None:
        if self._included or self._warned or token.text in gates.BUILTIN:
            return
        self._warned = True
        wanted = "qelib1.inc" if self._version.startswith("2") else "stdgates.inc"
        message = f"'{token.text}' is used without its include"
        self._builder.warn(self._fail("QASM307", message, token, f'add: include "{wanted}";').finding)

    def _parameters(self) -> tuple[Parameter, ...]:
        if not self._take("("):
            return ()
        if self._take(")"):
            return ()
        values = [self._expression(_COMMA)]
        while self._take(","):
            values.append(self._expression(_COMMA))
        self._expect(")")
        return tuple(values)

    def _global_phase(self, token: Token, parameters: tuple[Parameter, ...]) -> None:
        if len(parameters) != 1:
            raise self._fail("QASM305", _counted("gphase", "parameter", 1, len(parameters)), token)
        if self._condition is not None:
            raise self._fail("QASM311", "a global phase cannot be conditioned", token)
        self._expect(";")
        self._builder.add_phase(parameters[0])

    def _broadcast(
        self, name: str, arity: int, parameters: tuple[Parameter, ...], operands: list[Operand], token: Token
    ) -> None:
        if len(operands) != arity:
            raise self._fail("QASM304", _counted(token.text, "operand", arity, len(operands)), token)
        widths = {len(operand.indices) for operand in operands if not operand.single}
        if len(widths) > 1:
            raise self._fail("QASM309", "the registers have different sizes", operands[-1].token)
        width = widths.pop() if widths else 1
        self._budget(width, token)
        for step in range(width):
            qubits = tuple(o.indices[0] if o.single else o.indices[step] for o in operands)
            if len(set(qubits)) < len(qubits):
                raise self._fail("QASM306", f"{token.text} needs different qubits", operands[-1].token)
            kind = Kind.SWAP if name == "swap" and self._condition is None else Kind.GATE
            self._builder.gate(name, qubits, parameters, self._condition, self._source.of_token(token), kind)

    def _on_measure(self) -> None:
        token = self._next()
        qubits = self._operand(quantum=True)
        bits = None
        if self._take("->"):
            bits = self._operand(quantum=False)
        self._expect(";")
        if bits is None:
            raise self._fail("QASM203", "a measurement needs a classical bit", token, "write: measure q[0] -> c[0];")
        self._measure(token, qubits, bits)

    def _assignment(self) -> None:
        bits = self._operand(quantum=False)
        self._expect("=")
        token = self._token
        if not self._is("measure"):
            raise self._fail("QASM208", "only measurements can be assigned to bits", token, "write: c = measure q;")
        self._next()
        qubits = self._operand(quantum=True)
        self._expect(";")
        self._measure(token, qubits, bits)

    def _measure(self, token: Token, qubits: Operand, bits: Operand) -> None:
        if len(qubits.indices) != len(bits.indices):
            message = f"{len(qubits.indices)} qubits cannot be measured into {len(bits.indices)} bits"
            raise self._fail("QASM309", message, bits.token)
        self._budget(len(qubits.indices), token)
        span = self._source.of_token(token)
        for qubit, bit in zip(qubits.indices, bits.indices, strict=True):
            self._builder.measure(qubit, bit, self._condition, span)

    def _on_reset(self) -> None:
        token = self._next()
        qubits = self._operand(quantum=True)
        self._expect(";")
        self._budget(len(qubits.indices), token)
        for qubit in qubits.indices:
            self._builder.reset(qubit, self._condition, self._source.of_token(token))

    def _on_barrier(self) -> None:
        token = self._next()
        operands = [] if self._is(";") else self._operands(quantum=True, ends=_SEMICOLON)
        self._expect(";")
        self._budget(1, token)
        qubits = dict.fromkeys(q for operand in operands for q in operand.indices)
        self._builder.barrier(tuple(qubits) or tuple(range(self._scope.num_qubits)), self._source.of_token(token))

    # -- blocks ------------------------------------------------------------------------------------------------

    def _on_if(self) -> None:
        token = self._next()
        self._expect("(", "after 'if'")
        reader = ConditionReader(self._tokens, self._limits, self._scope, self._builder, self._fail)
        condition, self._at = reader.read(self._at)
        self._expect(")")
        self._open(condition, token, otherwise=False)

    def _open(self, condition: Condition, token: Token, *, otherwise: bool) -> None:
        if len(self._blocks) >= self._limits.nesting:
            raise self._fail("MESH104", f"blocks nest at most {self._limits.nesting} deep", token)
        braces = self._take("{")
        self._blocks.append(_Block(condition, self._condition, braces=braces, otherwise=otherwise))
        active = condition.negated() if otherwise else condition
        self._condition = active if self._condition is None else self._condition.both(active)
        if len(self._condition.steps) > self._limits.expression_tokens:
            raise self._fail("MESH107", "the conditions around this statement are too long", token)

    def _close(self) -> None:
        brace = self._next()
        if not self._blocks or not self._blocks[-1].braces:
            raise self._fail("QASM203", "this '}' closes nothing", brace)
        self._pop()

    def _pop(self) -> None:
        block = self._blocks.pop()
        self._condition = block.outer
        if not block.otherwise and self._is("else"):
            token = self._next()
            self._open(block.condition, token, otherwise=True)
            return
        self._end_single()

    def _end_single(self) -> None:
        """A statement without braces ends its `if`."""
        if self._blocks and not self._blocks[-1].braces:
            self._pop()

    def _on_else(self) -> None:
        raise self._fail("QASM203", "this 'else' has no 'if'", self._token)

    def _on_delay(self) -> None:
        token = self._next()
        self._expect("[")
        depth = self._token
        while self._token.kind != END and not self._is("]") and not self._is(";"):
            self._next()
        if depth is self._token:
            raise self._fail("QASM203", "a delay needs a duration", depth)
        self._expect("]")
        operands = [] if self._is(";") else self._operands(quantum=True, ends=_SEMICOLON)
        self._expect(";")
        self._budget(1, token)
        qubits = dict.fromkeys(q for operand in operands for q in operand.indices)
        self._builder.barrier(
            tuple(qubits) or tuple(range(self._scope.num_qubits)), self._source.of_token(token), kind=Kind.DELAY
        )


_STATEMENTS = frozenset(
    {
        "OPENQASM", "include", "qreg", "creg", "qubit", "bit", "const", "input", "measure", "reset", "barrier",
        "delay", "if", "else",
    }
)  # fmt: skip


def _counted(name: str, what: str, wanted: int, found: int) -> str:
    plural = "" if wanted == 1 else "s"
    return f"{visible(name)} takes {wanted} {what}{plural}, {found} given"
