"""What qmesh predicts of the two-module ion experiment from component figures alone, beside what was published."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mesh import EXAMPLES
from tests.physics.ion import REMOTE, TELEPORTED, Prediction, remote_cz, snapshot, success
from tests.soak.evidence import Evidence, write_table

_SHOTS = 200_000
_SEED = 20261130
_LOCAL = {
    0.943: "94.3(3) %, gate between Ca+ and Sr+, Bruzewicz et al., npj Quantum Inf. 5 (2019) 102",
    0.977: "97.7(7) %, transfer from Sr+ to Ca+ in a module of the group, Drmota et al., PRL 130 (2023) 090803 (preset)",
    0.998: "99.8(1) %, gate between Ca+ and Sr+, Hughes et al., PRL 125 (2020) 080504",
}
_PRESET = 0.977
_SOURCES = """Component figures: pairs of 96.89(8) %, 9.7 a second (Main et al., Nature 638 (2025) 383); the local two-qubit
gate as each row says. Figures of the experiment's own local gates, one-qubit gates, preparation, readout and mid-circuit
readout were not at hand: the local gate is that of other work, the others are left perfect, so that predictions are too high.
No figure is fitted. ± one standard error of the sampling."""


@dataclass(frozen=True, slots=True)
class _Case:
    what: str
    published: str
    local: float
    found: Prediction

    def row(self) -> tuple[str, ...]:
        return (
            self.what, _LOCAL.get(self.local, "perfect"), f"{self.found.value:.4f} ± {self.found.stderr:.4f}",
            self.published, str(self.found.pairs), f"{1000 * self.found.seconds:.1f} ms",
        )  # fmt: skip


def _cases(local: float) -> list[_Case]:
    closed, opened = (snapshot(name, local=local) for name in ("two_ion_modules", "two_ion_modules_open"))
    search, teleported = (
        (EXAMPLES / f"{name}.qasm").read_text() for name in ("grover2", "grover_teleported")
    )
    cz, grover = "86.2(9) %", "71(1) %"
    return [
        _Case(
            "remote CZ of the program, step by step as in the experiment: average gate fidelity", cz, local,
            remote_cz(TELEPORTED, opened, shots=_SHOTS, seed=_SEED),
        ),
        _Case(
            "remote CZ of the mesh (pair and one local gate): average gate fidelity", cz, local,
            remote_cz(REMOTE, closed, shots=_SHOTS, seed=_SEED),
        ),
        _Case(
            "Grover's search, examples/grover_teleported.qasm: success", grover, local,
            success(teleported, opened, shots=_SHOTS, seed=_SEED, wanted="11"),
        ),
        _Case(
            "Grover's search, examples/grover2.qasm: success", grover, local,
            success(search, closed, shots=_SHOTS, seed=_SEED, wanted="11"),
        ),
    ]  # fmt: skip


def run() -> Evidence:
    """Three figures of the local gate, and the ion link of 182 pairs a second."""
    cases = {local: _cases(local) for local in _LOCAL}
    link = remote_cz(REMOTE, snapshot("ion_link"), shots=_SHOTS, seed=_SEED)
    others = [_Case("remote CZ over the ion link of 182 pairs a second at 94 %", "-", 1.0, link)]
    rows = [one.row() for one in [*(one for found in cases.values() for one in found), *others]]
    write_table(
        "ion",
        "Two ion modules: predicted and published",
        _SOURCES,
        ("what", "local gate", "predicted", "published", "pairs", "model time"),
        rows,
    )
    expected = (4 * 0.94 + 1) / 5
    findings = []
    if abs(link.value - expected) > 3 * link.stderr:
        findings.append(f"a CZ over the ion link has {link.value:.4f}, not (4 F + 1) / 5 = {expected:.4f}")
    figures: dict[str, object] = {
        f"{one.what}: predicted, published": [
            f"{one.found.value:.4f} ± {one.found.stderr:.4f}",
            one.published,
        ]
        for one in cases[_PRESET]
    }
    figures["CZ over 182 pairs/s at 94 %: predicted, (4 F + 1) / 5"] = [
        f"{link.value:.4f}",
        round(expected, 4),
    ]
    figures["mean wait for that pair, ms"] = round(1000 * link.seconds, 2)
    figures["shots"] = _SHOTS
    figures["table"] = "docs/evidence/ion.md"
    return Evidence("ion", not findings, figures, findings)
