"""Every diagnostic code has an example that shows it, and shows how to mend it."""

import pytest

from qmesh_model.findings import CODES
from tests.circuits.codes import examples

EXAMPLES = examples()


def test_every_code_has_an_example() -> None:
    """No code without an example, no example without a code, and each code says how to mend what it means."""
    assert set(EXAMPLES) == set(CODES)
    assert all(code.title and code.explanation and code.hint for code in CODES.values())


@pytest.mark.parametrize("code", sorted(EXAMPLES))
def test_example_has_its_code_and_is_mended(code: str) -> None:
    """The faulty text has the code, and nothing else that a reader would have to wonder about; the mended one has none."""
    example = EXAMPLES[code]
    found = {item.code for item in example.findings()}
    assert code in found
    assert found - {code} <= {"MESH152"}
    assert example.left() == []
