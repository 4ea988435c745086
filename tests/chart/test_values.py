"""Values that would make a weak or a broken mesh are refused, with a sentence that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chart.rendering import CHART, RefusedError, render

MINIMAL = ("-f", str(CHART / "ci" / "minimal-values.yaml"))
PRODUCTION = ("-f", str(CHART / "ci" / "production-values.yaml"))

PARTS = ("gateway", "planner", "registry", "reservation", "runtime", "analyzer", "node", "keys")

# The key of the message, then the values. Rows are those of the list of what a chart must refuse.
ALWAYS: dict[str, tuple[str, str]] = {
    "1 unknown key": ("gatway", "gatway: {replicas: 2}"),
    "1 unknown key within": ("replica", "gateway: {replica: 2}"),
    "1 text for a number": ("gateway/replicas", 'gateway: {replicas: "2"}'),
    "1 no replicas": ("planner/replicas", "planner: {replicas: 0}"),
    "1 negative": ("runtime/replicas", "runtime: {replicas: -1}"),
    "1 fraction": ("runtime/replicas", "runtime: {replicas: 1.5}"),
    "1 unknown setting": ("weightSpeed", "planner: {settings: {weightSpeed: 1}}"),
    "3 inline key": ("apiKey", "gateway: {auth: {apiKey: sesame}}"),
    "3 inline password": ("password", "postgres: {password: sesame}"),
    "3 credentials in an address": ("nats/url", "nats: {url: 'nats://user:pass@nats:4222'}"),
    "3 credentials in an annotation": ("podAnnotations.db", "gateway: {podAnnotations: {db: 'postgresql://u:p@h/d'}}"),
    "4 root": ("securityContext", "gateway: {securityContext: {runAsUser: 0}}"),
    "4 privileged": ("privileged", "nodes: {pools: [{name: a, replicas: 1, dataQubits: 2, privileged: true}]}"),
    "4 host network": ("hostNetwork", "registry: {hostNetwork: true}"),
    "4 host path": ("hostPath", "runtime: {persistence: {hostPath: /}}"),
    "4 capability": ("capabilities", "runtime: {capabilities: [SYS_ADMIN]}"),
    "6 no limits": ("gateway/resources", "gateway: {resources: {limits: null}}"),
    "6 no memory limit": ("gateway/resources/limits", "gateway: {resources: {limits: {memory: null, cpu: 1}}}"),
    "6 memory limit below request": ("gateway.resources.limits.memory", "gateway: {resources: {requests: {memory: 1Gi}, limits: {memory: 512Mi}}}"),
    "6 CPU limit below request": ("planner.resources.limits.cpu", "planner: {resources: {requests: {cpu: '2'}, limits: {cpu: 500m}}}"),
    "6 analyzer's workers above its limit": ("analyzer.resources.limits.memory", "analyzer: {settings: {workerMemory: 4GiB}}"),
    "6 states above a node's limit": ("nodes.pools[0].resources.limits.memory", "nodes: {pools: [{name: a, replicas: 1, dataQubits: 2, stateBytes: 2GiB}]}"),
    "8 public NATS": ("service", "nats: {service: {type: LoadBalancer}}"),
    "8 public PostgreSQL": ("service", "postgres: {service: {type: LoadBalancer}}"),
    "8 public registry": ("service", "registry: {service: {type: NodePort}}"),
    "8 public nodes": ("service", "nodes: {service: {type: LoadBalancer}}"),
    "9 long name": ("fullnameOverride", f"fullnameOverride: {'a' * 64}"),
    "9 upper case": ("fullnameOverride", "fullnameOverride: Mesh"),
    "9 upper case pool": ("nodes/pools/0/name", "nodes: {pools: [{name: Alice, replicas: 1, dataQubits: 2}]}"),
    "9 YAML's no": ("nodes/pools/0/name", "nodes: {pools: [{name: no, replicas: 1, dataQubits: 2}]}"),
    "9 YAML's 1e3": ("image/tag", "image: {tag: 1e3}"),
    "9 octal": ("image/tag", "image: {tag: 0777}"),
    "9 line break in an annotation": ("podAnnotations", 'gateway: {podAnnotations: {a: "x\\nb: c"}}'),
    "9 line break in a setting": ("tenant", 'gateway: {settings: {tenant: "x\\nb"}}'),
    "9 the name of a part": ("nodes.pools[0].name", "nodes: {pools: [{name: gateway, replicas: 1, dataQubits: 2}]}"),
    "11 no pod may be moved": ("gateway.podDisruptionBudget.minAvailable", "gateway: {replicas: 2, podDisruptionBudget: {minAvailable: 2}}"),
    "11 nor of an autoscaled part": ("planner.podDisruptionBudget.minAvailable", "planner: {autoscaling: {enabled: true, minReplicas: 2}, podDisruptionBudget: {minAvailable: 3}}"),
    "12 no pools": ("nodes/pools", "nodes: {pools: []}"),
    "12 an empty pool": ("nodes/pools/0/replicas", "nodes: {pools: [{name: a, replicas: 0, dataQubits: 2}]}"),
    "12 one identity twice": ("nodes.pools", "nodes: {pools: [{name: a, replicas: 1, dataQubits: 2}, {name: a, replicas: 1, dataQubits: 3}]}"),
    "12 ledgers that are lost": ("emptyDir", "runtime: {persistence: {emptyDir: {}}}"),
    "13 a template": ("gateway.podAnnotations.a", "gateway: {podAnnotations: {a: '{{ .Values }}'}}"),
    "two registries": ("registry.replicas", "registry: {replicas: 2}"),
    "no database": ("postgres.secret.name", "postgres: {secret: {name: ''}}"),
    "no document server": ("mongodb.secret.name", "mongodb: {secret: {name: ''}}"),
    "two document stores": ("mongodb.secret.name", "documents: {store: postgres}"),
    "8 public MongoDB": ("service", "mongodb: {service: {type: LoadBalancer}}"),
    "a link to nowhere": ("nodes.pools[0].links", "nodes: {pools: [{name: a, replicas: 1, dataQubits: 2, links: [{to: b, pairFidelity: 0.9, pairRateHz: 1}]}]}"),
    "a fidelity above one": ("fidelity", "nodes: {services: {cnot: {fidelity: 1.2}}}"),
    "an unknown service": ("toffoli", "nodes: {services: {toffoli: {qubitMin: 3, qubitMax: 3, fidelity: 1, duration: 1us}}}"),
    "no unit": ("patience", "patience: '30'"),
}  # fmt: skip
IN_PRODUCTION: dict[str, tuple[str, str]] = {
    "2 latest": ("image.tag", "image: {tag: latest}"),
    "2 a part's tag": ("image.tags.node", "image: {tags: {node: newer}}"),
    "5 no walls": ("networkPolicy.enabled", "networkPolicy: {enabled: false}"),
    "documents in PostgreSQL": (
        "documents.store",
        "documents: {store: postgres}\nmongodb: {secret: {name: ''}}",
    ),
    "7 two copies": ("nats.streamReplicas", "nats: {streamReplicas: 2}"),
    "7 four copies": ("nats.streamReplicas", "nats: {servers: 5, streamReplicas: 4}"),
    "7 three copies on one server": ("nats.streamReplicas", "nats: {servers: 1}"),
    "10 no TLS": ("tls.enabled", "tls: {enabled: false}"),
    "10 short certificates": ("tls.validity", "tls: {validity: 30m}"),
    "14 two ways in": (
        "gateway.httpRoute.enabled",
        "gateway: {httpRoute: {enabled: true, gateway: g, host: h}}",
    ),
    "14 an authority without TLS": ("nats.authority", "nats: {url: 'nats://nats:4222'}"),
}


def _refusal(tmp_path: Path, base: tuple[str, ...], values: str) -> str:
    file = tmp_path / "values.yaml"
    file.write_text(values)
    with pytest.raises(RefusedError) as refused:
        render(*base, "-f", str(file))
    return str(refused.value)


@pytest.mark.parametrize("name", ALWAYS)
def test_always_refused(name: str, tmp_path: Path) -> None:
    """Some values are refused in every profile."""
    key, values = ALWAYS[name]
    assert key in _refusal(tmp_path, MINIMAL, values)


@pytest.mark.parametrize("name", IN_PRODUCTION)
def test_refused_in_production(name: str, tmp_path: Path) -> None:
    """Some are refused in profile production, and there only."""
    key, values = IN_PRODUCTION[name]
    assert key in _refusal(tmp_path, PRODUCTION, values)
    file = tmp_path / "values.yaml"
    assert render(*PRODUCTION, "-f", str(file), "--set", "profile=evaluation")


def test_production_asks_for_digests(tmp_path: Path) -> None:
    """Row 2: without a digest of each image nothing is rendered in profile production."""
    said = _refusal(tmp_path, MINIMAL, "profile: production")
    assert said.count("image.digests.") == len(PARTS)


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    """An operator sees all that is refused, not the first of it."""
    said = _refusal(
        tmp_path, MINIMAL, "registry: {replicas: 2}\npostgres: {secret: {name: ''}}\nprofile: production"
    )
    assert all(key in said for key in ("registry.replicas", "postgres.secret.name", "image.digests.keys"))
