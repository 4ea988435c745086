"""Walks the tasks of a circuit for given initial homes: who executes, which pairs are used, which homes move.

The e-bit model ("E-bits" in docs/execution-model.md): a wire's timeline is cut into segments; inside of a segment one cat copy
for each further node serves all gates there; a home may move to a node that has a copy at no cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qmesh_model.errors import MeshError
from qmesh_model.reach import Reach
from qmesh_planner.domain.errors import InfeasibleError
from qmesh_planner.domain.topology import Channel, Site, Topology
from qmesh_planner.domain.weights import Weights
from qmesh_planner.domain.work import Step, Task, Work

_CALL_US = 500
FREE_MOVE = 0xFFFFFFFF


@dataclass(slots=True)
class Pair:
    """A pair that the plan consumes.

    Attributes:
        number: place among the pairs.
        wire: wire that it serves.
        ends: its link, lesser site first.
        far: the end that is not the wire's home.
        kind: `cat` or `teleport`.
        rounds: protocols of its purification.
        operations: those of its packet.
        tasks: their tasks.
    """

    number: int
    wire: int
    ends: tuple[int, int]
    far: int
    kind: str
    rounds: tuple[str, ...]
    operations: list[int]
    tasks: list[int]


@dataclass(frozen=True, slots=True)
class HomeChange:
    """A wire's home from an operation on; `copy` is the pair whose cat copy has become the wire, -1 for none."""

    wire: int
    site: int
    operation: int
    pair: int
    copy: int = -1


@dataclass(slots=True)
class Walk:
    """One walk over all tasks.

    Attributes:
        cost: in nano-units.
        begins: pairs whose first operation is the key.
        unspent: rounds of purification that no pair of the wire has had yet.
    """

    work: Work
    topology: Topology
    weights: Weights
    homes: dict[int, int]
    only: int | None = None
    cost: int = 0
    executing: list[int] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    begins: dict[int, list[int]] = field(default_factory=dict)
    changes: list[HomeChange] = field(default_factory=list)
    moving: list[int] = field(default_factory=list)
    home_of_task: list[tuple[int, ...]] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    unspent: dict[int, list[str]] = field(default_factory=dict)
    _occupied: list[int] = field(default_factory=list)
    _copies: dict[int, dict[int, int]] = field(default_factory=dict)
    _holders: dict[int, int] = field(default_factory=dict)
    _fresh: set[int] = field(default_factory=set)

    def run(self) -> Walk:
        """Places every task.

        Raises:
            InfeasibleError: with these homes the circuit cannot run.
        """
        self._occupied = [0] * len(self.topology.sites)
        for wire in self.work.wires:
            self._occupied[self.homes[wire]] += 1
        for site in self.topology.sites:
            if self._occupied[site.number] > site.data_qubits:
                raise InfeasibleError(
                    "", f"node {site.name or site.node_id} has {site.data_qubits} data qubits"
                )
        self.peaks = list(self._occupied)
        self._fresh = set(self.work.wires)
        self.changes = [HomeChange(wire, self.homes[wire], 0, FREE_MOVE) for wire in self.work.wires]
        self.executing = [-1] * len(self.work.tasks)
        for task in self.work.tasks:
            if not task.readout:
                self._place(task)
            self.home_of_task.append(tuple(self.homes[wire] for wire in task.wires))
        self._readouts()
        return self

    def _place(self, task: Task) -> None:
        if task.operands == 1:
            site = self._local(task)
        elif task.teleports:
            site = self._teleport(task)
        else:
            site = self._remote(task)
        self.executing[task.number] = site
        self.cost += self._switch_cost(task.wires, site)
        for wire in task.wires:
            self._holders[wire] = site
        reset = task.operands == 1 and task.gates == {"reset"}
        if reset and all(self.work.circuit.operations[s.operation].condition is None for s in task.steps):
            self._fresh.add(task.wires[0])
        else:
            self._fresh.difference_update(task.wires)

    def _switch_cost(self, wires: Sequence[int], site: int) -> int:
        """A further call, when the amplitudes are not there yet."""
        if all(self._holders.get(wire) == site for wire in wires):
            return 0
        chosen = self.topology.sites[site]
        return (
            self.weights.latency * (_CALL_US + chosen.rtt_us)
            + self.weights.risk * chosen.failure_permille
            + self.weights.load * chosen.load_permille
        )

    def able(self, task: Task) -> list[Site]:
        """Sites that can execute a task.

        Raises:
            InfeasibleError: there is none.
        """
        service = task.service_type
        offering = self.topology.offering(service)
        sites = [s for s in offering if s.offers[service].takes(task.operands, task.gates)]
        if self.only is not None:
            sites = [s for s in sites if s.number == self.only]
        if sites:
            return sites
        least = self.topology.min_fidelity
        at = f" at a fidelity of {least:g} or more" if least else ""
        if not offering:
            raise InfeasibleError(service, f"no live node offers the service {service!r}{at}")
        raise InfeasibleError(
            service,
            f"no live node offers the service {service!r} for {task.operands} qubits and "
            f"{', '.join(sorted(task.gates))}{at}",
        )

    # -- one qubit: at its home ------------------------------------------------------------------------------------

    def _local(self, task: Task) -> int:
        wire = task.wires[0]
        able = self.able(task)
        if all(site.number != self.homes[wire] for site in able):
            self._relocate(wire, able, task)
        for step in task.steps:
            if step.splits:
                self._copies.pop(wire, None)
            if step.purifies:
                self.unspent.setdefault(wire, []).append(step.purifies)
        return self.homes[wire]

    def channel_of(self, pair: Pair) -> Channel:
        """The link that delivers a pair.

        Raises:
            MeshError: INTERNAL, a pair was planned where there is no link.
        """
        channel = self.topology.channel(*pair.ends)
        if channel is None:
            raise MeshError("INTERNAL", f"pair {pair.number} was planned between nodes that have no link")
        return channel

    def _relocate(self, wire: int, able: Sequence[Site], task: Task) -> None:
        """Moves a home to a site that has the service; when all of those are full, two wires change places."""
        here = self.homes[wire]
        operation = task.steps[0].operation
        copies = self._copies.get(wire, {})
        linked = [s for s in able if self.topology.channel(here, s.number)]
        room = [s for s in linked if self._occupied[s.number] < s.data_qubits]
        if room:
            best = min(room, key=lambda s: (s.number not in copies, self._site_cost(s), s.number))
            self._move(wire, best.number, operation, task.number)
            return
        for site in sorted(linked, key=lambda s: (self._site_cost(s), s.number)):
            others = [w for w in self.work.wires if self.homes[w] == site.number]
            if others:
                other = min(others, key=lambda w: (self._remaining(w, task.number), w))
                self._occupied[site.number] -= 1  # both are in flight at once
                self._move(wire, site.number, operation, task.number)
                self._occupied[site.number] += 1
                self._move(other, here, operation, task.number)
                return
        raise InfeasibleError(
            task.service_type, f"no node with the service {task.service_type!r} can take qubit {wire} in"
        )

    def _remaining(self, wire: int, after: int) -> int:
        return sum(1 for task in self.work.tasks[after + 1 :] if wire in task.wires)

    def _site_cost(self, site: Site) -> int:
        return (
            self.weights.latency * site.rtt_us
            + self.weights.risk * site.failure_permille
            + self.weights.load * site.load_permille
        )

    def _move(self, wire: int, site: int, operation: int, task: int) -> None:
        here = self.homes[wire]
        copies = self._copies.pop(wire, {})
        copy = copies.get(site, -1)
        pair = FREE_MOVE if copy >= 0 else self._pair(wire, here, site, "teleport", operation, task)
        self.homes[wire] = site
        self._occupied[here] -= 1
        self._occupied[site] += 1
        self.peaks[site] = max(self.peaks[site], self._occupied[site])
        self.changes.append(HomeChange(wire, site, operation, pair, copy))
        if not self.moving or self.moving[-1] != task:
            self.moving.append(task)

    def _pair(self, wire: int, home: int, far: int, kind: str, operation: int, task: int) -> int:
        number, ends = len(self.pairs), (min(home, far), max(home, far))
        rounds = tuple(self.unspent.pop(wire, ()))
        self.pairs.append(Pair(number, wire, ends, far, kind, rounds, [operation], [task]))
        self.begins.setdefault(operation, []).append(number)
        self.cost += self.weights.ebit
        return number

    # -- several qubits: at the cheapest site that offers the service ------------------------------------------------

    def _remote(self, task: Task) -> int:
        best: tuple[int, int] | None = None
        for site in self.able(task):
            price = self._price(task, site)
            if price is not None and (best is None or (price, site.number) < best):
                best = (price, site.number)
        if best is None:
            raise InfeasibleError(
                task.service_type,
                f"no node that offers {task.service_type!r} for {task.operands} qubits has links and room for them",
            )
        for step in task.steps:
            self._use(task, step, best[1])
        return best[1]

    def _price(self, task: Task, site: Site) -> int | None:
        """Cost of a task at a site; None when it cannot be there."""
        ebits = 0
        copies = {wire: set(self._copies.get(wire, {})) for wire in task.wires}
        there = {wire for wire in task.wires if self.homes[wire] == site.number}
        for wire in task.wires:
            if wire not in there and self.topology.channel(self.homes[wire], site.number) is None:
                return None
        for step in task.steps:
            for wire, reach in zip(step.wires, step.reaches, strict=True):
                if reach is Reach.SPLIT_SHARED:
                    copies[wire] = set()
                if wire in there:
                    if reach not in {Reach.SHARED, Reach.SPLIT_SHARED}:
                        copies[wire] = set()
                elif reach is Reach.BROUGHT:
                    ebits += 0 if site.number in copies[wire] else 1
                    there.add(wire)
                elif reach in {Reach.SHARED, Reach.SPLIT_SHARED}:
                    ebits += 0 if site.number in copies[wire] else 1
                    copies[wire].add(site.number)
                else:
                    ebits += 1 if reach is Reach.SINGLE else 2
                    copies[wire] = set()
        leaving = self._leaving(task, site)
        if leaving is None:
            return None
        ebits += sum(target not in self._copies.get(wire, {}) for wire, target in leaving)
        return self.weights.ebit * ebits + self._switch_cost(task.wires, site.number)

    def _leaving(self, task: Task, site: Site) -> list[tuple[int, int]] | None:
        """Which wires leave a site, and where to, so that a task which brings its wires there has room with its ancilla.

        None when no site that is linked has room for them.
        """
        if task.steps[0].reaches[0] is not Reach.BROUGHT:
            return []
        occupied = list(self._occupied)
        coming = {w for step in task.steps for w in step.wires if self.homes[w] != site.number}
        for wire in coming.intersection(task.steps[0].wires):
            occupied[self.homes[wire]] -= 1
        lacking = self._occupied[site.number] + len(coming) + 1 - site.data_qubits
        if lacking <= 0:
            return []
        others = [w for w in self.work.wires if self.homes[w] == site.number and w not in task.wires]
        others.sort(key=lambda w: (self._remaining(w, task.number), w))
        if len(others) < lacking:
            return None
        linked = [s for s in self.topology.sites if self.topology.channel(site.number, s.number)]
        leaving = []
        for wire in others[:lacking]:
            room = [s for s in linked if occupied[s.number] < s.data_qubits]
            if not room:
                return None
            copies = self._copies.get(wire, {})
            target = min(room, key=lambda s: (s.number not in copies, self._site_cost(s), s.number))
            occupied[target.number] += 1
            leaving.append((wire, target.number))
        return leaving

    def _use(self, task: Task, step: Step, site: int) -> None:
        leaving: list[tuple[int, int]] = []
        if step is task.steps[0]:
            leaving = self._leaving(task, self.topology.sites[site]) or []
        self._occupied[site] -= len(leaving)  # those that come and those that leave are in flight at once
        self._reach(task, step, site)
        self._occupied[site] += len(leaving)
        for wire, target in leaving:
            self._move(wire, target, step.operation, task.number)
        if step.reaches and step.reaches[0] is Reach.BROUGHT:
            self.peaks[site] = max(self.peaks[site], self._occupied[site] + 1)  # its ancilla

    def _reach(self, task: Task, step: Step, site: int) -> None:
        for wire, reach in zip(step.wires, step.reaches, strict=True):
            copies = self._copies.setdefault(wire, {})
            if reach is Reach.SPLIT_SHARED:
                copies.clear()
            home = self.homes[wire]
            if home == site:
                if reach not in {Reach.SHARED, Reach.SPLIT_SHARED}:
                    copies.clear()
            elif reach is Reach.BROUGHT:
                self._move(wire, site, step.operation, task.number)
            elif reach in {Reach.SHARED, Reach.SPLIT_SHARED}:
                if site in copies:
                    pair = self.pairs[copies[site]]
                    pair.operations.append(step.operation)
                    if pair.tasks[-1] != task.number:
                        pair.tasks.append(task.number)
                else:
                    copies[site] = self._pair(wire, home, site, "cat", step.operation, task.number)
            else:
                copies.clear()
                kinds = ("cat",) if reach is Reach.SINGLE else ("teleport", "teleport")
                for kind in kinds:
                    self._pair(wire, home, site, kind, step.operation, task.number)

    # -- teleportation: the wires' homes change places ---------------------------------------------------------------

    def _teleport(self, task: Task) -> int:
        a, b = task.wires
        able = self.able(task)
        for step in task.steps:
            here, there = self.homes[a], self.homes[b]
            if here == there:
                continue
            if self.topology.channel(here, there) is None:
                raise InfeasibleError(
                    task.service_type, "there is no link between the homes of two teleported qubits"
                )
            fresh = b in self._fresh
            pair = self._pair(a, here, there, "teleport", step.operation, task.number)
            if not fresh:
                self._pair(b, there, here, "teleport", step.operation, task.number)
            self.homes[a], self.homes[b] = there, here
            self.changes.append(HomeChange(a, there, step.operation, pair))
            self.changes.append(HomeChange(b, here, step.operation, pair if fresh else pair + 1))
            self.moving.append(task.number)
        for wire in task.wires:
            self._copies.pop(wire, None)
        homes = {self.homes[a], self.homes[b]}
        best = min(
            able,
            key=lambda s: (s.number not in homes, self._switch_cost(task.wires, s.number), s.number),
        )
        return best.number

    # -- joint readouts -------------------------------------------------------------------------------------------------

    def _readouts(self) -> None:
        """One site reads all terminal measurements of a component: its last holder when that one can."""
        for component in self.work.components.all:
            if not component.final or not component.readout:
                continue
            tasks = [t for t in self.work.tasks if t.readout and t.wires[0] in component.wires]
            last = self._last_site(component.wires)
            able = self.able(tasks[0])
            best = min(
                able,
                key=lambda s: (s.number != last, self._switch_cost(component.wires, s.number), s.number),
            )
            self.cost += self._switch_cost(component.wires, best.number)
            for task in tasks:
                self.executing[task.number] = best.number

    def _last_site(self, wires: Sequence[int]) -> int:
        last = -1
        site = self.homes[wires[0]]
        for task in reversed(self.work.tasks):
            if task.number <= last:
                break
            if not task.readout and not set(task.wires).isdisjoint(wires):
                last, site = task.number, self.executing[task.number]
        return site
