"""What the front end makes of programs of the grammar, against the `QuantumCircuit` that each of them means."""

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from qiskit import qasm2
from qiskit.exceptions import QiskitError
from qiskit.qasm2 import QASM2ParseError
from qiskit_qasm3_import import ConversionError
from qiskit_qasm3_import import parse as import3

from qmesh_model import wire
from qmesh_model.circuit import Kind
from qmesh_model.fastpath import FastPath
from qmesh_model.fragments import find_fragments
from qmesh_model.parser import parse
from qmesh_model.wires import track_wires
from tests.circuits.grammar import Program, programs
from tests.circuits.meaning import TooManyBranchesError, difference, distance, qiskit_outcomes, qiskit_unitary

TOLERANCE = 1e-9
sampled = hypothesis.settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
fewer = hypothesis.settings(sampled, max_examples=80)


def check_meaning(program: Program) -> None:
    """The normal form does what the program means."""
    form = parse(program.text).bind(program.values)
    try:
        assert difference(program.circuit, form, dynamic=program.dynamic) < TOLERANCE
    except TooManyBranchesError:
        hypothesis.reject()


@sampled
@given(programs(2))
def test_programs_of_openqasm_2_do_what_they_mean(program: Program) -> None:
    """The unitary, or every outcome with what it leaves behind, is Qiskit's to 1e-9, global phase included."""
    check_meaning(program)


@sampled
@given(programs(3))
def test_programs_of_openqasm_3_do_what_they_mean(program: Program) -> None:
    """The unitary, or every outcome with what it leaves behind, is Qiskit's to 1e-9, global phase included."""
    check_meaning(program)


@fewer
@given(programs(2, portable=True))
def test_qiskits_reader_of_openqasm_2_agrees(program: Program) -> None:
    """Where `qiskit.qasm2` takes the text, it reads the same program."""
    try:
        other = qasm2.loads(program.text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
    except QASM2ParseError:
        hypothesis.reject()
    form = parse(program.text)
    try:
        assert difference(other, form, dynamic=program.dynamic) < TOLERANCE
    except TooManyBranchesError:
        hypothesis.reject()


@pytest.mark.filterwarnings("ignore:.*annotated:DeprecationWarning")
@fewer
@given(programs(3, portable=True, dynamic=False))
def test_qiskits_importer_of_openqasm_3_agrees(program: Program) -> None:
    """Where `qiskit_qasm3_import` takes the text, it reads the same program."""
    try:
        other = import3(program.text)
    except (ConversionError, QiskitError, TypeError):
        hypothesis.reject()
    other = other.assign_parameters(program.values) if other.parameters else other
    if any(item.operation.name == "for_loop" for item in other.data):
        hypothesis.reject()
    form = parse(program.text).bind(program.values)
    assert difference(other, form, dynamic=False) < TOLERANCE


@sampled
@given(programs(3))
def test_nothing_is_dropped_on_the_way_to_fragments(program: Program) -> None:
    """Every operation is in one fragment, or is a barrier, idling, or an unconditioned swap; the wire keeps all of them."""
    form = parse(program.text)
    assert wire.from_proto(wire.to_proto(form)) == form
    fragments = find_fragments(form, track_wires(form))
    held = sorted(index for fragment in fragments for index in fragment.operations)
    free = [
        op.index
        for op in form.operations
        if op.kind in {Kind.BARRIER, Kind.DELAY} or (op.kind is Kind.SWAP and op.condition is None)
    ]
    assert sorted(held + free) == list(range(len(form.operations)))


@fewer
@given(st.sampled_from([2, 3]).flatmap(programs))
def test_reading_at_speed_changes_nothing(program: Program) -> None:
    """Plain statements are read by one expression; without it the whole grammar makes the same circuit, places included."""
    fast = parse(program.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastPath, "run", lambda _: 0)
        patch.setattr(FastPath, "one", lambda *_: False)
        slow = parse(program.text)
    assert fast == slow
    assert fast.warnings == slow.warnings


def test_the_oracle_sees_a_difference() -> None:
    """A program with one other gate is not taken for the same."""
    head = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\n'
    one = import3(f"{head}h q[0];\ncx q[0], q[1];\nh q[1];\nc = measure q;\n")
    other = import3(f"{head}h q[0];\ncy q[0], q[1];\nx q[1];\nc = measure q;\n")
    assert distance(qiskit_outcomes(one), qiskit_outcomes(other)) > 0.1
    assert difference(one, parse(f"{head}h q[0]; cy q[0], q[1]; x q[1]; c = measure q;"), dynamic=True) > 0.1
    with pytest.raises(AssertionError):
        assert (
            abs(qiskit_unitary(import3(f"{head}s q[0];")) - qiskit_unitary(import3(f"{head}t q[0];"))).max()
            < TOLERANCE
        )
