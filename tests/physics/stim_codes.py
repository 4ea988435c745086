"""The codes of `syndrome_extraction` in Stim: circuits, lookup and corrections of their own, nothing of the product.

References: Gidney, Quantum 5 (2021) 497 (Stim); Vaidman, Goldenberg, Wiesner, PRA 54 (1996) R1745 ([[4,2,2]]);
Steane, Proc. R. Soc. A 452 (1996) 2551; Horsman et al., New J. Phys. 14 (2012) 123011 (rotated surface code).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import stim
from numpy.typing import NDArray

Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StimCode:
    """A code by its checks, qubits as digits.

    Attributes:
        size: data qubits.
        x_checks: supports of the X checks, in the order in which they are measured.
        z_checks: of the Z checks, which follow.
        logical: by basis the supports whose parities are the logical values when all qubits are measured in it.
        corrects: whether a syndrome is answered by a correction.
    """

    size: int
    x_checks: tuple[str, ...]
    z_checks: tuple[str, ...]
    logical: dict[str, tuple[str, ...]]
    corrects: bool = True


STIM_CODES = {
    "repetition": StimCode(3, (), ("01", "12"), {"z": ("0",)}),
    "four_two_two": StimCode(4, ("0123",), ("0123",), {"z": ("01", "02")}, corrects=False),
    "steane": StimCode(
        7, ("3456", "1256", "0246"), ("3456", "1256", "0246"), {"z": ("0123456",), "x": ("0123456",)}
    ),
    "surface": StimCode(
        9, ("0134", "4578", "12", "67"), ("1245", "3467", "03", "58"), {"z": ("012",), "x": ("036",)}
    ),
}


@dataclass(frozen=True, slots=True)
class Rates:
    """Probabilities that something goes wrong.

    Attributes:
        cx: that a CX is followed by one of 15 Paulis.
        single: that a one-qubit gate is followed by one of 3.
        read: that a read bit is flipped, and that a reset leaves |1>.
    """

    cx: float
    single: float
    read: float


@dataclass(slots=True)
class Sample:
    """What shots of a memory experiment showed.

    Attributes:
        failed: shots whose logical value is wrong after the last decoding; of a code that only detects those without
            detection.
        detected: shots in which a check fired; None for codes that correct.
        fired: shots whose last extraction had a syndrome.
    """

    failed: Bits
    fired: Bits
    detected: Bits | None = None


def parities(bits: Bits, supports: tuple[str, ...]) -> Bits:
    """Parity of each support over rows of bits; shape (supports, shots)."""
    rows = [np.logical_xor.reduce(bits[[int(q) for q in support]]) for support in supports]
    return np.array(rows, dtype=np.bool_).reshape(len(supports), bits.shape[1])


def lookup(size: int, checks: tuple[str, ...]) -> Bits:
    """Lightest flips for each syndrome of checks of one kind, ties by the order of supports; row s is syndrome s."""
    table: dict[int, list[bool]] = {}
    for weight in range(size + 1):
        for support in combinations(range(size), weight):
            flips = np.isin(np.arange(size), support)[:, None]
            syndrome = int(parities(flips, checks)[:, 0] @ (1 << np.arange(len(checks))))
            table.setdefault(syndrome, flips[:, 0].tolist())
    return np.array([table[s] for s in range(1 << len(checks))])


def decoded(syndrome: Bits, size: int, checks: tuple[str, ...]) -> Bits:
    """Flips that answer a syndrome; shapes (checks, shots) and (size, shots)."""
    if not checks:
        return np.zeros((size, syndrome.shape[1]), dtype=np.bool_)
    return np.asarray(lookup(size, checks)[(1 << np.arange(len(checks))) @ syndrome].T, dtype=np.bool_)


def judged(code: StimCode, basis: str, rounds: list[Bits], final: Bits) -> Sample:
    """What the read bits say: the last bits are decoded once more, by the checks of their basis."""
    checks = code.z_checks if basis == "z" else code.x_checks
    syndrome, values = parities(final, checks), parities(final, code.logical[basis])
    fired = rounds[-1].any(axis=0)
    if code.corrects:
        values ^= parities(decoded(syndrome, code.size, checks), code.logical[basis])
        return Sample(values.any(axis=0), fired)
    detected = np.concatenate([*rounds, syndrome]).any(axis=0)
    return Sample(values.any(axis=0)[~detected], fired, detected)


class StimMemory:
    """A logical state kept for some rounds of extraction with one ancilla, each followed by its correction."""

    def __init__(self, name: str, basis: str, rates: Rates, shots: int, seed: int) -> None:
        """Begins in the logical |0> (basis z) or |+> (basis x)."""
        self._code, self._basis, self._rates = STIM_CODES[name], basis, rates
        self._shots, self._rng = shots, np.random.default_rng(seed)
        self._simulator = stim.FlipSimulator(batch_size=shots, num_qubits=self._code.size + 1, seed=seed)

    def run(self, rounds: int) -> Sample:
        """All of it."""
        self._prepare()
        syndromes = [self._extract() for _ in range(rounds)]
        if self._basis == "x":
            self._gate("H", "DEPOLARIZE1", self._rates.single, *[[q] for q in range(self._code.size)])
        size = self._code.size
        self._simulator.do(stim.Circuit(f"M({self._rates.read}) {' '.join(map(str, range(size)))}"))
        return judged(self._code, self._basis, syndromes, self._records(size))

    def _prepare(self) -> None:
        size = self._code.size
        if not self._code.corrects:  # nothing would correct a random first syndrome
            self._gate("H", "DEPOLARIZE1", self._rates.single, [0])
            self._gate("CX", "DEPOLARIZE2", self._rates.cx, *[[0, q] for q in range(1, size)])
        if self._basis == "x":
            self._gate("H", "DEPOLARIZE1", self._rates.single, *[[q] for q in range(size)])

    def _gate(self, name: str, channel: str, rate: float, *targets: list[int]) -> None:
        for qubits in targets:
            where = " ".join(map(str, qubits))
            self._simulator.do(stim.Circuit(f"{name} {where}\n{channel}({rate}) {where}"))

    def _records(self, count: int) -> Bits:
        return np.asarray(self._simulator.get_measurement_flips()[-count:], dtype=np.bool_)

    def _extract(self) -> Bits:
        code, ancilla = self._code, self._code.size
        for kind, checks in (("x", code.x_checks), ("z", code.z_checks)):
            for check in checks:
                self._simulator.do(stim.Circuit(f"R {ancilla}\nX_ERROR({self._rates.read}) {ancilla}"))
                if kind == "x":
                    self._gate("H", "DEPOLARIZE1", self._rates.single, [ancilla])
                pairs = [[ancilla, int(q)] if kind == "x" else [int(q), ancilla] for q in check]
                self._gate("CX", "DEPOLARIZE2", self._rates.cx, *pairs)
                if kind == "x":
                    self._gate("H", "DEPOLARIZE1", self._rates.single, [ancilla])
                self._simulator.do(stim.Circuit(f"M({self._rates.read}) {ancilla}"))
        syndrome = self._records(len(code.x_checks) + len(code.z_checks))
        if code.corrects:
            self._correct(syndrome)
        return syndrome

    def _correct(self, syndrome: Bits) -> None:
        code = self._code
        phases = decoded(syndrome[: len(code.x_checks)], code.size, code.x_checks)
        flips = decoded(syndrome[len(code.x_checks) :], code.size, code.z_checks)
        self._simulator.broadcast_pauli_errors(pauli="X", mask=flips)
        self._simulator.broadcast_pauli_errors(pauli="Z", mask=phases)
        wrong = (flips | phases) & (self._rng.random(flips.shape) < self._rates.single)
        letters = self._rng.integers(1, 4, flips.shape)
        for letter in (1, 2, 3):
            self._simulator.broadcast_pauli_errors(pauli=letter, mask=wrong & (letters == letter))


def reference_is_zero(name: str) -> bool:
    """Whether all bits of a noiseless run without corrections may be 0: flips then are the bits themselves."""
    code = STIM_CODES[name]
    text = []
    for kind, checks in (("X", code.x_checks), ("Z", code.z_checks)):
        text += ["MPP " + "*".join(f"{kind}{q}" for q in check) for check in checks]
    return not stim.Circuit("\n".join(2 * text)).reference_sample().any()
