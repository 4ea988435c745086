"""Settings: units are asked for, typing errors are refused by name, secrets never show."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from qmesh_kit.settings import BaseMeshSettings, Duration, ServiceSection, load


class PlannerSection(ServiceSection):
    """A section."""

    period: Duration = 2.0
    key: SecretStr | None = None


class Settings(BaseMeshSettings):
    """Settings of a process."""

    planner: PlannerSection = PlannerSection(listen="unix:/tmp/x")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMESH_PLANNER__LISTEN", "unix:/tmp/x")


def test_durations_carry_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """`250ms` is a quarter of a second."""
    monkeypatch.setenv("QMESH_PLANNER__PERIOD", "250ms")
    assert load(Settings).planner.period == 0.25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QMESH_PLANNER__PERIOD", "10"),
        ("QMESH_PLANNER__PERIOD", "NaN"),
        ("QMESH_PLANNER__PERIOD", "-1s"),
        ("QMESH_PLANER__PERIOD", "10s"),
        ("QMESH_PLANNER__PERIODE", "10s"),
    ],
)
def test_nonsense_ends_with_78_and_the_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """A missing unit, nonsense or an unknown name stops the process with exit 78, and says which name."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 78
    assert name in capsys.readouterr().err


def test_secrets_come_from_files_and_never_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`*_FILE` is read, and the value is in no text of the settings."""
    (tmp_path / "key").write_text("very-secret-value\n")
    monkeypatch.setenv("QMESH_PLANNER__KEY_FILE", str(tmp_path / "key"))
    found = load(Settings)
    assert found.planner.key is not None
    assert found.planner.key.get_secret_value() == "very-secret-value"
    assert "very-secret-value" not in repr(found)


def test_missing_secret_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A file that is not there stops the process, by the name of the variable."""
    monkeypatch.setenv("QMESH_PLANNER__KEY_FILE", str(tmp_path / "absent"))
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 78
    assert "QMESH_PLANNER__KEY_FILE" in capsys.readouterr().err
