"""What no object of the chart may be; each policy returns what it has against one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.chart.rendering import Object, pod_of

USER = 65532
KEYS = "keys"
_OPEN_SERVICES = {"gateway"}

Policy = Callable[[Object], Iterator[str]]


def _containers(pod: Object) -> list[Object]:
    spec = pod["spec"]
    return [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]


def _component(found: Object) -> str:
    return str(found["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def unprivileged(found: Object) -> Iterator[str]:
    """Pod Security restricted, and a fixed user."""
    pod = pod_of(found)
    if pod is None:
        return
    spec = pod["spec"]
    for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(name):
            yield f"{name} is on"
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") != USER:
        yield "the pod may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "there is no seccomp profile"
    for container in _containers(pod):
        yield from _contained(container)


def _contained(container: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield f"{container['name']} is privileged"
    if own.get("runAsUser", USER) != USER or own.get("runAsNonRoot", True) is not True:
        yield f"{container['name']} runs as another user"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{container['name']} may gain privileges"
    if own.get("readOnlyRootFilesystem") is not True:
        yield f"{container['name']} may write its root file system"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{container['name']} has capabilities"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{container['name']} takes a port of the machine"


def bounded(found: Object) -> Iterator[str]:
    """Requests, a memory limit, and a size of scratch space."""
    pod = pod_of(found)
    if pod is None:
        return
    for container in _containers(pod):
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
            yield f"{container['name']} asks for nothing"
        if "memory" not in resources.get("limits", {}):
            yield f"{container['name']} has no memory limit"
    for volume in pod["spec"].get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"the volume {volume['name']} has no size"
        if "hostPath" in volume:
            yield f"the volume {volume['name']} is a folder of the machine"


def tokenless(found: Object) -> Iterator[str]:
    """Only the job that makes keys speaks with the API server."""
    if found["kind"] == "ServiceAccount" and found.get("automountServiceAccountToken") is not False:
        yield "the account's token is mounted by default"
    pod = pod_of(found)
    if pod is None:
        return
    if pod["spec"].get("automountServiceAccountToken") is not False and _component(found) != KEYS:
        yield "the pod has a token"
    if pod["spec"].get("serviceAccountName", "default") == "default":
        yield "the pod uses the default account"
    if pod["spec"].get("enableServiceLinks") is not False:
        yield "the pod's environment names other services"


def narrow(found: Object) -> Iterator[str]:
    """No right beyond the namespace, none with a wildcard, and only the job of keys has any."""
    if found["kind"] in {"ClusterRole", "ClusterRoleBinding"}:
        yield "rights beyond the namespace"
    if found["kind"] == "Role":
        if _component(found) != KEYS:
            yield "a role that is not of the keys"
        for rule in found["rules"]:
            if "*" in rule["verbs"] or "*" in rule["resources"] or "*" in rule["apiGroups"]:
                yield "a wildcard"
            if rule["verbs"] != ["create"] and not rule.get("resourceNames"):
                yield f"{', '.join(rule['verbs'])} of every {', '.join(rule['resources'])}"


def secretive(found: Object) -> Iterator[str]:
    """Secrets reach processes as files, and no object holds one."""
    if found["kind"] == "Secret":
        yield "a Secret in the chart"
    pod = pod_of(found)
    for container in _containers(pod) if pod is not None else ():
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield f"{variable['name']} holds a secret"
        if any("secretRef" in source for source in container.get("envFrom", [])):
            yield f"{container['name']} takes its environment from a Secret"


def pinned(found: Object) -> Iterator[str]:
    """Images have a version or a digest."""
    pod = pod_of(found)
    for container in _containers(pod) if pod is not None else ():
        image = str(container["image"])
        _, at, digest = image.partition("@sha256:")
        tag = image.rpartition("/")[2].partition(":")[2]
        if not (at and digest) and (not tag or tag == "latest"):
            yield f"{image} is no fixed image"


def watched(found: Object) -> Iterator[str]:
    """What runs for ever has probes; liveness asks the process only, and the end is announced before it comes."""
    if found["kind"] not in {"Deployment", "StatefulSet"}:
        return
    for container in found["spec"]["template"]["spec"]["containers"]:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe not in container:
                yield f"{container['name']} has no {probe}"
        if container.get("livenessProbe", {}).get("httpGet", {}).get("path") != "/healthz":
            yield f"liveness of {container['name']} asks more than the process"
        if "preStop" not in container.get("lifecycle", {}):
            yield f"{container['name']} ends before others know"


def inward(found: Object) -> Iterator[str]:
    """Nothing but the gateway is open to the outside."""
    if _component(found) in _OPEN_SERVICES:
        return
    if found["kind"] == "Service" and found["spec"].get("type", "ClusterIP") != "ClusterIP":
        yield "a Service that is open to the outside"
    if found["kind"] in {"Ingress", "HTTPRoute"}:
        yield "a way in that does not lead to the gateway"


def durable(found: Object) -> Iterator[str]:
    """Runtime and nodes keep their ledgers on a claimed volume."""
    keeps = found["kind"] == "StatefulSet" and _component(found) in {"runtime", "node"}
    if keeps and not found["spec"].get("volumeClaimTemplates"):
        yield "the ledger is lost with the pod"


POLICIES: tuple[Policy, ...] = (
    unprivileged, bounded, tokenless, narrow, secretive, pinned, watched, inward, durable,
)  # fmt: skip


def walled(objects: Sequence[Object]) -> Iterator[str]:
    """Every pod is chosen by a policy that closes both directions."""
    walls = [o["spec"] for o in objects if o["kind"] == "NetworkPolicy"]
    for found in objects:
        pod = pod_of(found)
        if pod is None:
            continue
        labels = pod["metadata"]["labels"].items()
        around = [
            wall
            for wall in walls
            if wall["podSelector"].get("matchLabels", {}).items() <= labels
            and set(wall["policyTypes"]) == {"Ingress", "Egress"}
        ]
        if not around:
            yield f"{found['kind']}/{found['metadata']['name']}: no policy closes it"
    for wall in walls:
        if any(rule == {} for rule in (*(wall.get("ingress") or ()), *(wall.get("egress") or ()))):
            yield "a policy that allows everything"


def violations(objects: Sequence[Object], *, walls: bool = True) -> list[str]:
    """Everything that the policies have against the objects."""
    found = [
        f"{o['kind']}/{o['metadata']['name']}: {why}"
        for o in objects
        for policy in POLICIES
        for why in policy(o)
    ]
    return found + (list(walled(objects)) if walls else [])
