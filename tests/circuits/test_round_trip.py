"""A normal form written as OpenQASM 3 and read again is the same circuit."""

from collections.abc import Iterable

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given

from qmesh_model.openqasm import write
from qmesh_model.parser import parse
from tests.circuits.grammar import Program, programs
from tests.programs import program

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[4] q;\nbit[5] c;\n'
sampled = hypothesis.settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def check(text: str) -> None:
    """Written once it is the same circuit; written twice it is the same text."""
    form = parse(text)
    written = write(form)
    again = parse(written)
    assert again.digest == form.digest, written
    assert write(again) == written


@sampled
@given(programs(2))
def test_programs_of_openqasm_2_survive(drawn: Program) -> None:
    """Whatever was read from OpenQASM 2 can be written as OpenQASM 3."""
    check(drawn.text)


@sampled
@given(programs(3))
def test_programs_of_openqasm_3_survive(drawn: Program) -> None:
    """Loops, aliases, modifiers, conditions and symbols too."""
    check(drawn.text)


@pytest.mark.parametrize("seed", range(60))
def test_programs_with_words_survive(seed: int) -> None:
    """So do service words."""
    check(program(seed).text)


@pytest.mark.parametrize(
    "body",
    [
        "iqft q[0]; cp(0.3) q[0], q[1];",
        "qft q[1]; cp(pi/2) q[0], q[1]; h q[0]; swap q[0], q[1];",
        "swap q[0], q[1]; iqft q[0], q[1]; swap q[0], q[1]; swap q[2], q[3];",
        "iqft q[0:2]; qft q[3]; qft q[0:1]; iqft q[1];",
        "if (c[0]) qft q[0:1]; qft q[2:3]; if (c[0]) iqft q[0:1]; if (c[1]) iqft q[0:1];",
    ],
)
def test_transforms_beside_their_own_gates_survive(body: str) -> None:
    """What a Fourier transform lowers to is told from the same gates beside it."""
    check(HEAD + "c[0:3] = measure q;\n" + body)


@pytest.mark.parametrize(
    "body",
    [
        "if (!c[3] && c > 16) { s q[1]; if (c[4] || c < 8) { c[-1] = measure q[0]; } } else z q[3];",
        "if (c[0]) { if (c[1]) { c[1] = measure q[0]; } else x q[0]; } else { y q[0]; } if (!(c[0] && c[1])) z q[0];",
        "if (c[0] && c[1] && c == 2) { c[0] = measure q[0]; } else if (c[2] && c[3]) { c[1] = measure q[1]; } else z q[2];",
        "if (c[0]) h q[0]; if (c[0] && c[1]) { c[1] = measure q[0]; } else z q[0];",
        "if (c[0] || c[1]) { c[0] = measure q[0]; if (c[2]) x q[1]; else y q[1]; } else { c[1] = measure q[2]; }",
    ],
)
def test_branches_that_rewrite_their_own_bits_survive(body: str) -> None:
    """A branch is fixed where its `if` stands, so its `else` has to be written as an `else`."""
    check(HEAD + "c[0:3] = measure q;\nc[4] = measure q[0];\n" + body)


def _all(texts: Iterable[str], operator: str) -> str:
    return f" {operator} ".join(texts)


DEEP = {
    "many conjuncts": f"if ({_all((f'c[{i}]' for i in range(40)), '&&')}) x q[0];",
    "many conjuncts, shared": f"if ({_all((f'c[{i}]' for i in range(40)), '&&')}) x q[0]; "
    f"if ({_all((f'c[{i}]' for i in range(41)), '&&')}) y q[0];",
    "many disjuncts": f"if ({_all((f'c[{i}] && c[{i + 1}]' for i in range(40)), '||')}) x q[0];",
    "many parities": f"if ({_all((f'c[{i}]' for i in range(40)), '^')}) x q[0]; else z q[1];",
    "many comparisons": f"if ({_all((f'c[{i}:{i + 3}] < {i % 7 + 1}' for i in range(40)), '&&')}) x q[0]; else y q[0];",
    "many negations": f"if ({'!' * 60}c[0]) x q[0];",
    "truth values compared": "if ((c[0] == c[1]) != (c[2] == c[3])) x q[0];",
    "nested to the right": "if (c[0]"
    + "".join(f" && (c[{i}]" for i in range(1, 32))
    + ")" * 31
    + ") x q[0];",
    "nested blocks": "".join(f"if (c[{i}]) {{ c[{i}] = measure q[0]; " for i in range(32))
    + "x q[0];"
    + "}" * 32,
    "many branches": "if (c[0]) x q[0]; " + "".join(f"else if (c[{i}]) x q[0]; " for i in range(1, 31)),
}


@pytest.mark.parametrize("name", sorted(DEEP))
def test_deep_conditions_survive(name: str) -> None:
    """What the bounds of the reader let in, the writer writes within them."""
    head = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[4] q;\nbit[50] c;\nfor int i in [0:49] c[i] = measure q[i % 4];\n'
    check(head + DEEP[name])
