"""The target `circuits`: coverage-guided mutation of OpenQASM texts, run by `python -m tests.fuzz`.

Reads every text as the mesh does, with its processor time and memory; a part of them is judged in full. Ends by itself after
the asked number of executions, and leaves figures and its slowest and largest texts in a folder.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import re
import resource
import sys
import time
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["qmesh_model"]):
    from tests.fuzz.verdict import judge, read

_KEPT: Final = 20
_JUDGED: Final = 16
_FIGURES: Final = 10_000
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TOKEN: Final = re.compile(rb"\w+|\s+|[^\w\s]")
_HEADS: Final = (
    b'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[4] q;\nbit[4] c;\n',
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[4];\ncreg c[4];\n',
)
_WORDS: Final = (
    b"OPENQASM include qreg creg qubit bit gate opaque measure reset barrier if else for while in let const input output def "
    b"defcal cal extern box return switch delay stretch duration pragma int uint float angle bool array ctrl negctrl inv pow pi "
    b"tau euler true false sin cos ln sqrt exp mod U gphase CX cx ccx cu3 cu h x rx rzz swap bell_pair teleport cnot qft iqft "
    b"distillation syndrome_extraction controlled_unitary programmable_gate dejmps steane dt ns us"
).split()
_BLOCKS: Final = (
    b"\nif (c[0]) {", b"\nif (c == 2) {", b"\nfor int i in [0:1] {", b"\nfor uint k in {0, 2} {", b"\ngate w a {", b"\nif (!c[1]) { x q[0]; } else {",
)  # fmt: skip
_PREFIXES: Final = (
    b"\nctrl @ ", b"\ninv @ ", b"\npow(2) @ ", b"\nnegctrl(2) @ ", b"\nif (c == 1) ", b"\nfor int i in [0:2] ", b"\nif (c[0] && c[1]) ",
)  # fmt: skip
_SIGNS: Final = (
    b'; { } ( ) [ ] , : -> = == != < <= > >= && || ! ~ & | ^ ++ ** * / % + - @ # $ . " // /* */ 0 1 2 3 -1 0x1f 0b11 0o7 1e9 '
    b"999999999 1e308 1_0 2.5 .5 \xce\xb8 \xcf\x80 \xff \r \0"
).split(b" ")


class _Run:
    """Counts, and the texts worth keeping."""

    def __init__(self, folder: Path, wanted: int, seeds: list[bytes]) -> None:
        self.folder = folder
        self.wanted = wanted
        self.seeds = seeds
        self.valid = [seed for seed in seeds if read(seed.decode("utf-8", "surrogateescape"))]
        self.done = 0
        self.accepted = 0
        self.peak = 0
        self.begun = time.monotonic()
        self.slow: list[tuple[float, bytes]] = []
        self.large: list[tuple[int, bytes]] = []

    def one(self, data: bytes) -> None:
        """One execution."""
        text = data.decode("utf-8", "surrogateescape")
        resident = _resident()
        begun = time.thread_time()
        self.accepted += read(text)
        self._note(data, time.thread_time() - begun, resident)
        if self.done % _JUDGED == 0:
            judge(text)
        self.done += 1
        if self.done % _FIGURES == 0 or self.done == self.wanted:
            self._write()
        if self.done == self.wanted:
            os._exit(0)

    def _note(self, data: bytes, seconds: float, resident: int) -> None:
        if len(self.slow) < _KEPT:
            heapq.heappush(self.slow, (seconds, data))
        elif seconds > self.slow[0][0]:
            heapq.heapreplace(self.slow, (seconds, data))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        if peak > self.peak:
            self.peak = peak
            self.large = heapq.nlargest(_KEPT, [*self.large, (peak - resident, data)])

    def _write(self) -> None:
        """What has been found so far."""
        for kind, kept in (("slow", self.slow), ("large", self.large)):
            for number, (_, data) in enumerate(sorted(kept, reverse=True)):
                (self.folder / f"{kind}-{number:02d}.qasm").write_bytes(data)
        figures = {
            "executions": self.done,
            "accepted": self.accepted,
            "seconds": round(time.monotonic() - self.begun, 1),
            "slowest under instrumentation, ms": round(max(self.slow)[0] * 1e3, 1),
        }
        (self.folder / "figures.json").write_text(json.dumps(figures))

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """The library's own mutation, or one of tokens and statements."""
        rng = random.Random(seed)
        kind = rng.random()
        if kind < 0.3:
            return bytes(atheris.Mutate(data, max_size))
        if kind < 0.7:
            return self._statements(rng.choice(self.valid) if kind < 0.5 else data, rng)[:max_size]
        tokens = _TOKEN.findall(data) or [b";"]
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(tokens))
            kind = rng.randrange(8)
            if kind == 0:
                tokens[at] = rng.choice(_WORDS)
            elif kind == 1:
                tokens[at] = rng.choice(_SIGNS)
            elif kind == 2:
                tokens[at:at] = [b" ", rng.choice(_WORDS), b" "]
            elif kind == 3:
                tokens[at:at] = [rng.choice(_SIGNS)]
            elif kind == 4:
                del tokens[at : at + rng.randint(1, 6)]
                tokens = tokens or [b";"]
            elif kind == 5:
                other = _TOKEN.findall(rng.choice(self.seeds))
                begin = rng.randrange(len(other))
                tokens[at:at] = other[begin : begin + rng.randint(1, 40)]
            elif kind == 6:
                tokens[at:at] = tokens[at : at + rng.randint(1, 12)] * rng.choice([1, 1, 2, 8])
            else:
                return (rng.choice(_HEADS) + b"".join(tokens))[:max_size]
        return b"".join(tokens)[:max_size]

    def _statements(self, data: bytes, rng: random.Random) -> bytes:
        """Whole statements taken out, repeated, put elsewhere, taken from another text, or put in a block."""
        lines = data.split(b";")
        at = rng.randrange(len(lines))
        kind = rng.randrange(6)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        elif kind == 2:
            lines[at : at + 3] = rng.sample(lines[at : at + 3], len(lines[at : at + 3]))
        elif kind == 3:
            lines.insert(at, rng.choice(rng.choice(self.seeds).split(b";")))
        elif kind == 4:
            lines[at] = rng.choice(_BLOCKS) + lines[at] + b"; }\n"
        else:
            lines[at] = rng.choice(_PREFIXES) + lines[at].lstrip()
        return b";".join(lines)


def _resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def main() -> None:
    """Fuzzes: the folder of results, the number of executions, then options of libFuzzer."""
    folder, wanted, *options = sys.argv[1:]
    corpus = Path(folder) / "corpus"
    seeds = [path.read_bytes() for path in sorted(corpus.iterdir())]
    run = _Run(Path(folder), int(wanted), [seed for seed in seeds if seed])

    def test_one_input(data: bytes) -> None:
        run.one(data)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        return run.mutate(data, max_size, seed)

    atheris.Setup([sys.argv[0], *options, str(corpus)], test_one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
