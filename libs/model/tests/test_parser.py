"""Texts to normal form: meaning, refusals, bounds, hostile input."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm2
from qiskit.quantum_info import Operator

from qmesh_model import gates, matrices, wire
from qmesh_model.arithmetic import number_of
from qmesh_model.budgets import Budgets
from qmesh_model.circuit import Circuit, Kind
from qmesh_model.components import find_components
from qmesh_model.conditions import evaluate
from qmesh_model.diagnostics import CircuitError, render
from qmesh_model.fastpath import plain_numbers
from qmesh_model.findings import CODES
from qmesh_model.fragments import find_fragments
from qmesh_model.nearest import Nearest, distance
from qmesh_model.parser import parse
from qmesh_model.wires import track_wires

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "diagnostics"
HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
EXAMPLES = sorted((ROOT / "examples").glob("*.qasm"))


def unitary(circuit: Circuit) -> np.ndarray:
    """Product of all gates."""
    product = np.eye(1 << circuit.num_qubits, dtype=complex)
    for op in circuit.operations:
        matrix = gates.matrix(op.name, op.parameters)
        product = np.array(matrices.embed(matrix, op.qubits, circuit.num_qubits)) @ product
    return product


def codes(text: str, limits: Budgets | None = None) -> list[str]:
    """Codes of the errors of a text."""
    with pytest.raises(CircuitError) as caught:
        parse(text, limits or Budgets())
    return [d.code for d in caught.value.diagnostics]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_survive_the_wire(path: Path) -> None:
    """Every example parses, and comes back equal from its message."""
    circuit = parse(path.read_text())
    assert wire.from_proto(wire.to_proto(circuit)) == circuit


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_fragments_hold_every_operation_once(path: Path) -> None:
    """Each operation that needs a node is in exactly one fragment, and the fragments have no cycle."""
    circuit = parse(path.read_text())
    fragments = find_fragments(circuit, track_wires(circuit))
    held = sorted(i for fragment in fragments for i in fragment.operations)
    assert held == [op.index for op in circuit.operations if op.needs_node]
    done: set[int] = set()
    while ready := [f.number for f in fragments if f.number not in done and done.issuperset(f.dependencies)]:
        done.update(ready)
    assert len(done) == len(fragments)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_final_components_partition_the_touched_wires(path: Path) -> None:
    """No wire is in two final components."""
    circuit = parse(path.read_text())
    found = [w for c in find_components(circuit, track_wires(circuit)).all if c.final for w in c.wires]
    assert len(found) == len(set(found))


def test_qasm2_program_means_what_qiskit_reads() -> None:
    """A program with definitions, broadcast and expressions has Qiskit's unitary up to a global phase."""
    text = """OPENQASM 2.0; include "qelib1.inc";
    gate foo(a, b) x, y { rx(a/2 + b^2) x; cx x, y; u3(-a, sin(b), pi/3) y; }
    gate bar(t) x, y { foo(t, 2*t) y, x; barrier x, y; cu1(t) x, y; }
    qreg q[3]; qreg r[3]; h q; cx q, r[0]; bar(0.3) q[0], r[2]; rccx q[0], q[1], r[1]; rzz(0.2) q[2], r[0];"""
    ours = parse(text)
    plain = Circuit(
        **{f: getattr(ours, f) for f in Circuit.__dataclass_fields__}
        | {"operations": tuple(op for op in ours.operations if op.kind is not Kind.BARRIER)}
    )
    assert Operator(unitary(plain)).equiv(
        Operator(qasm2.loads(text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS))
    )


@pytest.mark.parametrize(("word", "sign"), [("qft", 1), ("iqft", -1)])
def test_fourier_words_are_the_discrete_transform(word: str, sign: int) -> None:
    """`qft` has the amplitudes exp(2 pi i j k / N) / sqrt N, `iqft` their conjugates."""
    j = np.arange(16)
    expected = np.exp(sign * 2j * np.pi * np.outer(j, j) / 16) / 4
    np.testing.assert_allclose(unitary(parse(f"{HEAD}qubit[4] q; {word} q;")), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("body", "terminal"),
    [
        ("c[0] = measure q[0];", [True]),
        ("c[0] = measure q[0]; barrier q; delay[10ns] q[0];", [True]),
        ("c[0] = measure q[0]; x q[0];", [False]),
        ("c[0] = measure q[0]; if (c[0]) x q[1];", [False]),
        ("c[0] = measure q[0]; c[0] = measure q[1];", [True, True]),
        ("c[1] = measure q[1]; c[0] = measure q[0]; if (c[1]) c[0] = measure q[2];", [False, False, False]),
    ],
)
def test_terminal_measurements(body: str, terminal: list[bool]) -> None:
    """Terminal: unconditioned, its version unread, its qubit untouched afterwards but by barrier and delay."""
    circuit = parse(f"{HEAD}qubit[3] q; bit[2] c; {body}")
    assert [op.terminal for op in circuit.operations if op.kind is Kind.MEASURE] == terminal


def test_condition_is_fixed_where_the_if_stands() -> None:
    """A body that rewrites its own bit does not change the branch, and `else` is the negation."""
    text = f"{HEAD}qubit[2] q; bit c; c = measure q[0]; if (c) {{ c = measure q[1]; x q[0]; }} else y q[0];"
    write, x, y = parse(text).operations[1:4]
    assert x.condition is not None
    assert (write.writes[0].previous, x.condition, y.condition) == (0, write.condition, x.condition.negated())


@given(st.integers(0, 15), st.integers(0, 17), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
def test_register_comparison_is_that_of_integers(have: int, want: int, operator: str) -> None:
    """A condition over a register gives what the comparison of the integers gives, for bools and for columns."""
    text = f"{HEAD}qubit[4] q; bit[4] c; c = measure q; if (c {operator} {want}) x q[0];"
    condition = parse(text).operations[-1].condition
    assert condition is not None
    expected = eval(f"{have} {operator} {want}")  # noqa: S307 - the oracle, on integers that the test made
    assert evaluate(condition, lambda v: bool(have >> v & 1)) is expected
    columns = evaluate(condition, lambda v: np.array([bool(have >> v & 1)] * 2))
    assert np.all(columns == expected)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            f"OPENQASM 3.0; qubit[2] q; Bell_Pair q[0], q[1]; {HEAD[14:]}cNOT q[0], q[1]; h q[0];",
            ["bell_pair", "cx", "h"],
        ),
        (
            'OPENQASM 2.0; qreg q[2]; TELEPORT q[0], q[1]; include "qelib1.inc"; Hadamard q[0];',
            ["teleport", "h"],
        ),
        ("OPENQASM 3; qubit[2] q; hadamard q; CZ q[0], q[1];", ["h", "h", "cz"]),
    ],
)
def test_words_stand_before_and_after_an_include(text: str, names: list[str]) -> None:
    """Service words need no include, and are written in any case."""
    assert [op.name for op in parse(text).operations] == names


def test_digest_ignores_comments_spacing_and_names() -> None:
    """Texts that differ in comments, spacing and register names only have one digest."""
    one = parse(f"{HEAD}qubit[2] q; bit[2] c; h q[0]; rz(pi/3) q[1]; c = measure q;")
    two = parse(f"{HEAD}/* a */ qubit[2]  a;\nbit[2] b; // x\nh  a[0];\n rz( pi / 3 )a[1]; b=measure a;")
    assert one.digest == two.digest


def test_inputs_stay_symbolic_until_bound() -> None:
    """An input is a symbol of the circuit, and binding folds it."""
    circuit = parse(f"{HEAD}input float theta; qubit q; rx(2*theta) q;")
    assert (circuit.symbols, circuit.bind({"theta": 0.25}).operations[0].parameters) == (("theta",), (0.5,))


def test_doubling_gates_are_counted_before_they_are_made() -> None:
    """Thirty doubling definitions meet the budget of gate operations."""
    lines = ["gate g0 a { x a; x a; }"] + [f"gate g{i} a {{ g{i - 1} a; g{i - 1} a; }}" for i in range(1, 30)]
    assert codes(HEAD + "qubit q;" + "\n".join(lines) + "g29 q;") == ["MESH101"]


@pytest.mark.parametrize("statement", ["x q[0];", "x q;", "c[0] = measure q[0];", "if (c[0]) x q[0];"])
def test_plain_statements_are_counted(statement: str) -> None:
    """The statement that exceeds the operations' budget is named, whichever way it is read."""
    text = f"{HEAD}qubit[1] q; bit[1] c; c[0] = measure q[0];\n" + f"{statement}\n" * 100
    with pytest.raises(CircuitError) as caught:
        parse(text, Budgets(operations=50))
    (found,) = caught.value.diagnostics
    assert (found.code, found.line) == ("MESH101", 53)


def test_broadcast_is_counted_before_it_is_made() -> None:
    """A broadcast beyond the operations' budget is refused."""
    assert codes(f"{HEAD}qubit[100] q; {'x q;' * 6}", Budgets(operations=500)) == ["MESH101"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.qasm")), ids=lambda p: p.stem)
def test_diagnostics_read_as_recorded(path: Path) -> None:
    """The drawn diagnostics of a typical mistake are those on file."""
    text = path.read_text()
    with pytest.raises(CircuitError) as caught:
        parse(text)
    assert render(text, caught.value.diagnostics) == path.with_suffix(".txt").read_text()
    assert all(d.code in CODES for d in caught.value.diagnostics)


PIECES = [
    "qubit[2] q;",
    "bit[2] c;",
    "h q[0];",
    "cx q[0],q[1];",
    "if (c==1)",
    "{",
    "}",
    "else",
    "measure q -> c;",
    "gate g a {",
]
PIECES += [
    "(",
    ")",
    "[",
    "]",
    ";",
    "->",
    "pi",
    "1",
    "-",
    "**",
    "rx(",
    "qft q;",
    "q",
    "c",
    "@",
    "$",
    '"',
    "/*",
    "é",
    "for",
    "let",
]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=30))
def test_random_text_raises_nothing_else(pieces: list[str]) -> None:
    """A text of random pieces gives a circuit or a CircuitError with known codes, never another exception."""
    try:
        parse(HEAD + " ".join(pieces))
    except CircuitError as error:
        assert {d.code for d in error.diagnostics} <= set(CODES)  # noqa: PT017 - an accepted text is right as well


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_mutated_examples_raise_nothing_else(path: Path) -> None:
    """Examples with characters dropped, doubled or exchanged give a circuit or a CircuitError."""
    rng, text = random.Random(1), path.read_text()
    for _ in range(150):
        letters = list(text)
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(letters))
            letters[at] = rng.choice(["", letters[at] * 2, ";", "{", "}", "(", "[", "0", "q", "\0"])
        try:
            parse("".join(letters))
        except CircuitError as error:
            assert error.diagnostics  # noqa: PT017 - an accepted text is right as well


def test_bv8_secret_is_read_as_qiskit_reads_it() -> None:
    """The Bernstein-Vazirani example is legal OpenQASM 2 for Qiskit too."""
    text = next(p for p in EXAMPLES if p.stem == "bv8").read_text()
    assert isinstance(qasm2.loads(text), QuantumCircuit)


ANGLES = st.one_of(
    st.floats(0, 1e6, allow_nan=False).map(lambda v: f"{v:.9f}"),
    st.floats(1e-12, 1e12, allow_nan=False).map(lambda v: f"{v:.12e}"),
    st.tuples(st.integers(1, 10**9 - 1), st.integers(1, 10**9 - 1)).map(lambda p: f"{p[0]}*pi/{p[1]}"),
    st.integers(1, 64).map(lambda m: f"pi/{m}"),
    st.integers(1, 64).map(lambda k: f"{k} * pi"),
    st.just("pi"),
)


@given(ANGLES, st.sampled_from(["", "-", "- "]), st.sampled_from(["", " "]))
def test_usual_angles_have_the_value_of_the_full_grammar(angle: str, sign: str, blank: str) -> None:
    """A lone number or fraction of pi, read at speed, is bit for bit what the expression reader makes of it."""
    text = f"{blank}{sign}{angle}{blank}"
    (fast,) = plain_numbers(text) or ()
    assert math.copysign(1, fast) == math.copysign(1, number_of(text))
    assert fast == number_of(text)


@pytest.mark.parametrize(
    "text", ["1e999", "pi/0", "3", "x", "pi pi", "1.5,", "", "0*pi", "\u0663.\u0665", "0x1.8", "1_0.5"]
)
def test_other_angles_are_left_to_the_full_grammar(text: str) -> None:
    """What is no plain finite decimal and no fraction of pi is not guessed at."""
    assert plain_numbers(text) is None


@given(st.text("abcdefghABC_0", max_size=9), st.text("abcdefghABC_0", max_size=9), st.integers(0, 4))
def test_distance_of_names(one: str, other: str, most: int) -> None:
    """The banded distance is that of the whole table, up to the bound."""
    table = {(i, j): max(i, j) for i in range(len(one) + 1) for j in range(len(other) + 1) if not i or not j}
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            changed = table[i - 1, j - 1] + (one[i - 1] != other[j - 1])
            table[i, j] = min(changed, table[i - 1, j] + 1, table[i, j - 1] + 1)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    assert min(distance(one, other, most), most + 1) == min(table[len(one), len(other)], most + 1)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("hadmard", "hadamard"),
        ("H", "h"),
        ("mesure", "measure"),
        ("cxx", "cx"),
        ("Bell_Pai", "bell_pair"),
        ("q", ""),
        ("zzz", ""),
    ],
)
def test_near_names(name: str, near: str) -> None:
    """A slip or two in a word, more in a long one; short names that share nothing are not near."""
    assert Nearest().find(name, ["h", "cx", "measure", "hadamard", "bell_pair", "r"]) == near


def test_nearness_costs_bounded_work() -> None:
    """However many names and mistakes a text has, comparing them ends."""
    nearest, names = Nearest(), [f"{'a' * 60}{number}" for number in range(200)]
    for number in range(100):
        nearest.find(f"{'a' * 58}b{number}", names)
    assert nearest.cells <= 0
    assert not nearest.find("hadmard", ["hadamard"])
