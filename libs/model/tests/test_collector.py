"""The collector pauses while a text is read, and never for longer."""

from __future__ import annotations

import gc

import pytest

from qmesh_model.collector import paused
from qmesh_model.diagnostics import CircuitError
from qmesh_model.parser import parse


def test_it_rests_inside_and_runs_afterwards() -> None:
    """Also where one pause is inside another, and where it was off before."""
    with paused():
        assert not gc.isenabled()
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_text_that_is_refused_leaves_it_running() -> None:
    """An error of a text is no way around it."""
    with pytest.raises(CircuitError):
        parse("OPENQASM 3.0;\nnothing q[0];")
    assert gc.isenabled()
