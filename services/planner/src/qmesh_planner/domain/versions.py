"""Which versions of which components each block reads and makes, and how large they become."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from qmesh_planner.domain.noise import error_probability
from qmesh_planner.domain.placement import Walk
from qmesh_planner.domain.sequence import Group
from qmesh_planner.domain.weights import Demand


@dataclass(frozen=True, slots=True)
class Size:
    """What the size of a component depends on.

    Attributes:
        qubits: its wires.
        outcomes: distinct histories of outcomes.
        fidelity: probability that a shot draws no error.
        stabilizer: it is a tableau with signs for each history.
    """

    qubits: int
    outcomes: int
    fidelity: float
    stabilizer: bool

    def rows(self, demand: Demand) -> int:
        """Expected distinct histories: all outcomes, and with noise the drawn errors plus 4 sigma."""
        errors = 1
        if demand.noise:
            mean = demand.shots * (1 - self.fidelity)
            errors = 1 + math.ceil(mean + 4 * math.sqrt(mean * self.fidelity))
        return max(1, min(demand.shots, self.outcomes * errors))

    def nbytes(self, demand: Demand) -> int:
        """Bytes of the states and of the row numbers."""
        rows = self.rows(demand)
        states: int = demand.amplitude_bytes * rows * 2**self.qubits
        if self.stabilizer:
            states = 4 * self.qubits**2 + self.qubits * (1 + rows)
        return states + 4 * demand.shots


@dataclass(slots=True)
class Chain:
    """The blocks that touch one component, in order."""

    component: int
    wires: tuple[int, ...]
    merged_from: tuple[int, ...]
    final: bool
    blocks: list[int] = field(default_factory=list)
    version: int | None = None
    producer: int | None = None
    collapses: int = 0
    fidelity: float = 1.0
    stabilizer: bool = False

    @property
    def size(self) -> Size:
        """What its size depends on now."""
        outcomes: int = 2 ** min(self.collapses, 63)
        return Size(len(self.wires), outcomes, self.fidelity, self.stabilizer)

    def nbytes(self, demand: Demand) -> int:
        """Bytes of the states and of the row numbers."""
        return self.size.nbytes(demand)


@dataclass(frozen=True, slots=True)
class Touch:
    """A version that a block reads or makes."""

    component: int
    position: int
    wires: tuple[int, ...]
    nbytes: int


@dataclass(slots=True)
class Use:
    """What one block reads, makes and begins."""

    inputs: list[Touch] = field(default_factory=list)
    outputs: list[Touch] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    needs: set[int] = field(default_factory=set)
    reads: list[int] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    peak: int = 0
    largest: tuple[Size, ...] = ()
    stabilizer: bool = False

    @property
    def dense_qubits(self) -> int:
        """Qubits of the widest component of amplitudes that is live at its peak; 0 when there are none."""
        return max((size.qubits for size in self.largest if not size.stabilizer), default=0)

    def least(self, demand: Demand) -> int:
        """Bytes of one history of everything that is live at its peak."""
        return sum(size.nbytes(replace(demand, shots=1)) for size in self.largest)

    def fits(self, demand: Demand, room: int) -> bool:
        """Whether the components that are live at its peak fit for some number of shots, or fewer would not help."""
        single = all(size.rows(demand) == 1 for size in self.largest)
        return single or sum(size.nbytes(demand) for size in self.largest) <= room


class Versions:
    """Walks the blocks in order and follows every component."""

    def __init__(self, walk: Walk, demand: Demand, stabilizers: frozenset[int]) -> None:
        """Takes the placement, and the components that are kept as stabilizer states."""
        self._walk = walk
        self._demand = demand
        self._work = walk.work
        self._of_wire: dict[int, int] = {}
        self._writer: dict[int, int] = {}
        self._merges = {
            frozenset(c.merged_from): c.number for c in self._work.components.all if c.merged_from
        }
        self.chains = [
            Chain(c.number, c.wires, c.merged_from, c.final, stabilizer=c.number in stabilizers)
            for c in self._work.components.all
        ]
        for component in self._work.components.all:
            if not component.merged_from:
                self._of_wire[component.wires[0]] = component.number

    def take(self, block: int, group: Group) -> Use:
        """The next block."""
        use = Use()
        live: set[int] = set()
        changed: set[int] = set()
        for unit in group.units:
            for number in unit.tasks:
                task = self._work.tasks[number]
                for step in task.steps:
                    parts = list(dict.fromkeys(self._of_wire[wire] for wire in step.wires))
                    for part in parts:
                        if part not in live:
                            self._begin(block, part, use, changed)
                            live.add(part)
                    if not task.teleports and len(parts) > 1:
                        parts = [self._merge(block, parts, live, changed)]
                    self._apply(step.operation, group.site, parts, use, block)
                    if not task.readout:
                        changed.update(parts)
                    self._note(use, live)
        for component in sorted(live & changed):
            chain = self.chains[component]
            chain.version, chain.producer = len(chain.blocks) - 1, block
            use.outputs.append(self._touch(chain))
        use.fresh.sort()
        return use

    def _note(self, use: Use, live: set[int]) -> None:
        use.stabilizer |= any(self.chains[c].stabilizer for c in live)
        peak = sum(self.chains[c].nbytes(self._demand) for c in live)
        if peak > use.peak:
            use.peak, use.largest = peak, tuple(self.chains[c].size for c in sorted(live))

    def _touch(self, chain: Chain) -> Touch:
        position = chain.version if chain.version is not None else 0
        return Touch(chain.component, position, chain.wires, chain.nbytes(self._demand))

    def _begin(self, block: int, component: int, use: Use, changed: set[int]) -> None:
        chain = self.chains[component]
        chain.blocks.append(block)
        if chain.version is None:
            use.fresh.extend(chain.wires)
            changed.add(component)
            return
        use.inputs.append(self._touch(chain))
        if chain.producer is not None:
            use.needs.add(chain.producer)

    def _merge(self, block: int, parts: list[int], live: set[int], changed: set[int]) -> int:
        merged = self.chains[self._merges[frozenset(parts)]]
        merged.collapses = sum(self.chains[part].collapses for part in parts)
        merged.fidelity = math.prod(self.chains[part].fidelity for part in parts)
        merged.blocks.append(block)
        for wire in merged.wires:
            self._of_wire[wire] = merged.component
        live.difference_update(parts)
        changed.difference_update(parts)
        live.add(merged.component)
        return merged.component

    def _apply(self, index: int, site: int, parts: list[int], use: Use, block: int) -> None:
        operation = self._work.circuit.operations[index]
        for part in parts:
            chain = self.chains[part]
            if operation.collapses:
                chain.collapses += max(1, len(operation.qubits) - 1)
            if self._demand.noise and not operation.terminal:
                chain.fidelity *= 1 - error_probability(self._walk.topology.sites[site], operation)
        wanted = set(operation.condition.versions) if operation.condition is not None else set()
        if operation.condition is not None:
            wanted |= {write.previous for write in operation.writes if write.previous >= 0}
        for version in sorted(wanted):
            writer = self._writer[version]
            if writer != block and version not in use.reads:
                use.reads.append(version)
                use.needs.add(writer)
        for write in operation.writes:
            self._writer[write.version] = block
            use.writes.append(write.version)
