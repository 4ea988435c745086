"""Chooses initial homes: a few constructed assignments, then deterministic local search within a budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from qmesh_model.errors import MeshError
from qmesh_planner.domain.errors import InfeasibleError, no_capable_node
from qmesh_planner.domain.placement import Walk
from qmesh_planner.domain.topology import Site, Topology
from qmesh_planner.domain.weights import Weights
from qmesh_planner.domain.work import Work

_STEPS = 120_000
_MOST = 400


class Search:
    """One search; `best` gives the cheapest walk that was found."""

    def __init__(self, work: Work, topology: Topology, weights: Weights) -> None:
        """Takes the circuit's tasks and the usable nodes."""
        self._work = work
        self._topology = topology
        self._weights = weights
        self._failures: list[InfeasibleError] = []

    def centralized(self) -> Walk:
        """Everything on one node, the cheapest that can.

        Raises:
            MeshError: NO_CAPABLE_NODE, naming the service or size that no node has.
        """
        walks = [walk for site in self._topology.sites if (walk := self._alone(site)) is not None]
        if not walks:
            raise self._refusal("the strategy centralized needs one node for everything")
        return min(walks, key=lambda walk: walk.cost)

    def cheapest(self) -> Walk:
        """Least cost over all nodes.

        Raises:
            MeshError: NO_CAPABLE_NODE, naming the service or size that the live nodes do not have.
        """
        self._check_services()
        best: Walk | None = None
        for homes in self._constructed():
            walk = self._walk(homes)
            if walk is not None and (best is None or walk.cost < best.cost):
                best = walk
        if best is None:
            raise self._refusal("no assignment of qubits to nodes works out")
        return self._improve(best) if len(best.pairs) > self._least_pairs() else best

    def _least_pairs(self) -> int:
        """Pairs that no placement can do without: those that join the nodes over which the widest component is spread."""
        wanted = max(len(component.wires) for component in self._work.components.all)
        nodes = 0
        for qubits in sorted((site.data_qubits for site in self._topology.sites), reverse=True):
            if wanted <= 0:
                break
            wanted -= qubits
            nodes += 1
        return max(0, nodes - 1)

    def _check_services(self) -> None:
        """Names a missing service before the search meets it in some other shape."""
        probe = Walk(self._work, self._topology, self._weights, {})
        for task in self._work.tasks:
            try:
                probe.able(task)
            except InfeasibleError as error:
                raise no_capable_node(error.service_type, error.reason) from None
        have = sum(site.data_qubits for site in self._topology.sites)
        if have < len(self._work.wires):
            raise no_capable_node(
                "",
                f"the circuit needs {len(self._work.wires)} data qubits, the {len(self._topology.sites)} live nodes "
                f"have {have}",
            )

    def _refusal(self, context: str) -> MeshError:
        failure = next((f for f in self._failures if f.service_type), None) or next(
            iter(self._failures), None
        )
        if failure is None:
            service = self._work.tasks[0].service_type if self._work.tasks else ""
            return no_capable_node(
                service, f"no live node offers the service {service!r}: there is no live node"
            )
        return no_capable_node(failure.service_type, f"{context}: {failure.reason}")

    def _alone(self, site: Site) -> Walk | None:
        homes = dict.fromkeys(self._work.wires, site.number)
        try:
            return Walk(self._work, self._topology, self._weights, homes, only=site.number).run()
        except InfeasibleError as error:
            self._failures.append(error)
            return None

    def _walk(self, homes: dict[int, int]) -> Walk | None:
        try:
            return Walk(self._work, self._topology, self._weights, dict(homes)).run()
        except InfeasibleError as error:
            self._failures.append(error)
            return None

    def _constructed(self) -> Iterator[dict[int, int]]:
        """Everything on one site; wires that interact side by side over few sites, in several orders of sites."""
        wires = self._ordered()
        sites = self._topology.sites
        for site in sites:
            if site.data_qubits >= len(wires):
                yield dict.fromkeys(wires, site.number)
        seen: set[tuple[int, ...]] = set()
        largest = sorted(sites, key=lambda s: (-s.data_qubits, s.number))
        widest = sorted(sites, key=lambda s: (-len(s.offers), -s.data_qubits, s.number))
        for order in (largest, widest, largest[::-1], *(_led_by(site, largest) for site in sites)):
            if tuple(s.number for s in order) in seen:
                continue
            seen.add(tuple(s.number for s in order))
            yield _filled(wires, order)

    def _ordered(self) -> list[int]:
        """Wires such that those which interact often are near each other."""
        weight: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for task in self._work.tasks:
            for a in task.wires:
                for b in task.wires:
                    if a != b:
                        weight[a][b] += 1
        left = dict.fromkeys(self._work.wires, 0)
        order = []
        while left:
            wire = min(left, key=lambda w: (-left[w], w))
            del left[wire]
            order.append(wire)
            for other, count in weight[wire].items():
                if other in left:
                    left[other] += count
        return order

    def _improve(self, best: Walk) -> Walk:
        """Moves and exchanges of initial homes while one of them helps; the budget counts walks, not time."""
        budget = max(8, min(_MOST, _STEPS // (len(self._work.tasks) + 10)))
        improved = True
        while improved and budget > 0:
            improved = False
            for homes in self._neighbours(_initial(best)):
                budget -= 1
                walk = self._walk(homes)
                if walk is not None and walk.cost < best.cost:
                    best, improved = walk, True
                    break
                if budget <= 0:
                    break
        return best

    def _neighbours(self, homes: dict[int, int]) -> Iterator[dict[int, int]]:
        count: dict[int, int] = defaultdict(int)
        for home in homes.values():
            count[home] += 1
        wires = sorted(homes)
        for wire in wires:
            for site in self._topology.sites:
                if site.number != homes[wire] and count[site.number] < site.data_qubits:
                    yield {**homes, wire: site.number}
        for place, a in enumerate(wires):
            for b in wires[place + 1 :]:
                if homes[a] != homes[b]:
                    yield {**homes, a: homes[b], b: homes[a]}


def _led_by(first: Site, others: Sequence[Site]) -> list[Site]:
    return [first, *(site for site in others if site.number != first.number)]


def _filled(wires: Sequence[int], order: Sequence[Site]) -> dict[int, int]:
    homes: dict[int, int] = {}
    left = iter(wires)
    for site in order:
        for _ in range(site.data_qubits):
            wire = next(left, None)
            if wire is None:
                return homes
            homes[wire] = site.number
    return homes


def _initial(walk: Walk) -> dict[int, int]:
    return {change.wire: change.site for change in walk.changes[: len(walk.work.wires)]}
