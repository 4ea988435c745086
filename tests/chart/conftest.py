"""Tests of the chart that need helm, and no cluster."""

from __future__ import annotations

import pytest

from tests.chart.rendering import helm


@pytest.fixture(autouse=True)
def _helm() -> None:
    if helm() is None:
        pytest.skip("helm is not on PATH: the chart was not rendered")
