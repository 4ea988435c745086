"""The page that says which language is read holds texts that are read."""

import re
from pathlib import Path

import pytest

from qmesh_model.parser import parse
from qmesh_model.refusals import REFUSED

PAGE = (Path(__file__).parents[2] / "docs" / "formats" / "openqasm.md").read_text()
TEXTS = re.findall(r"```qasm\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_texts() -> None:
    """Both languages, inputs, and service words."""
    assert len(TEXTS) == 4


@pytest.mark.parametrize("text", TEXTS)
def test_text_of_the_page_is_read(text: str) -> None:
    """Without an error, and without a warning but for names that no include declares."""
    assert {warning.code for warning in parse(text).warnings} <= {"MESH150"}


@pytest.mark.parametrize(
    "word", ["while", "def", "extern", "cal", "defcal", "box", "stretch", "duration", "opaque", "switch"]
)
def test_word_that_the_page_refuses_is_refused(word: str) -> None:
    """Words that the page lists are those that the front end knows by name."""
    assert word in REFUSED
    assert f"`{word}`" in PAGE
