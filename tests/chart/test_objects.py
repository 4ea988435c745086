"""Every combination of values renders to objects that Kubernetes knows and that the policies allow."""

from __future__ import annotations

import re
from pathlib import Path

import kubernetes_validate
import pytest

from tests.chart.policies import violations
from tests.chart.rendering import CASES, DEPLOYED, KUBERNETES, Object, pod_of, render

_FOREIGN = {"gateway.networking.k8s.io/v1"}


def _name(path: object) -> str:
    return path.stem if isinstance(path, Path) else str(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("case", [*CASES, *DEPLOYED], ids=_name)
def test_kubernetes_knows_every_field(case: Path, version: str) -> None:
    """Every object passes Kubernetes' own schema, strictly, in three minor versions."""
    for found in render("-f", str(case), version=version):
        if found["apiVersion"] not in _FOREIGN:
            kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.parametrize("case", [*CASES, *DEPLOYED], ids=_name)
def test_the_policies_allow_every_object(case: Path) -> None:
    """Nothing forbidden is rendered; without network policies that is the values' own wish."""
    assert violations(render("-f", str(case)), walls=case.stem != "open-values") == []


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_names_and_selectors_fit(case: Path) -> None:
    """Names are short enough for labels, no two objects share one, and every Service chooses pods of the chart."""
    objects = render("-f", str(case))
    seen: set[tuple[str, str]] = set()
    pods = [pod for pod in map(pod_of, objects) if pod is not None]
    for found in objects:
        key = (found["kind"], found["metadata"]["name"])
        assert key not in seen
        seen.add(key)
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", key[1]), key
        if found["kind"] == "Service":
            chosen = found["spec"]["selector"].items()
            assert any(chosen <= pod["metadata"]["labels"].items() for pod in pods), key


def test_targets_name_services() -> None:
    """Every address in an environment leads to a Service of the chart and to a port that it has."""
    objects = render("-f", str(CASES[0]))
    services: dict[str, Object] = {o["metadata"]["name"]: o for o in objects if o["kind"] == "Service"}
    targets = 0
    for found in objects:
        pod = pod_of(found)
        for container in pod["spec"]["containers"] if pod is not None else ():
            for variable in container.get("env", []):
                for name, port in re.findall(r"dns:///([a-z0-9-]+)\.[^:]+:(\d+)", str(variable.get("value"))):
                    assert int(port) in {p["port"] for p in services[name]["spec"]["ports"]}
                    targets += 1
    assert targets > 8


def test_one_edge_has_two_ends() -> None:
    """For every part that may be called there is a part that may call it, at the same port."""
    walls = {
        o["metadata"]["labels"]["app.kubernetes.io/component"] + o["metadata"]["name"]: o["spec"]
        for o in render("-f", str(CASES[0]))
        if o["kind"] == "NetworkPolicy" and "egress" in o["spec"]
    }
    component = "app.kubernetes.io/component"

    def ends(direction: str, peers: str) -> set[tuple[str, str, int]]:
        found = set()
        for wall in walls.values():
            own = wall["podSelector"]["matchLabels"][component]
            for rule in wall[direction] or []:
                for peer in rule.get(peers, []):
                    labels = peer.get("podSelector", {}).get("matchLabels", {})
                    if component in labels:
                        pair = (own, labels[component]) if direction == "egress" else (labels[component], own)
                        found.add((*pair, rule["ports"][0]["port"]))
        return found

    assert ends("egress", "to") == ends("ingress", "from")
    assert ("runtime", "node", 4001) in ends("egress", "to")
    assert ("gateway", "node", 4001) not in ends("egress", "to")
