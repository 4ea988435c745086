"""The policies see what they are for: one chart for each forbidden field."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.chart.policies import violations
from tests.chart.rendering import CASES, CHART, render

PODS, JOB, RIGHTS = "_pods.tpl", "migrations/job.yaml", "keys/rights.yaml"
MUTANTS = {
    "root": (PODS, "runAsUser: 65532", "runAsUser: 0", "root"),
    "no runAsNonRoot": (PODS, "runAsNonRoot: true", "runAsNonRoot: false", "root"),
    "no seccomp": (PODS, "seccompProfile: {type: RuntimeDefault}", "seccompProfile: {type: Unconfined}", "seccomp"),
    "escalation": (PODS, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "gain privileges"),
    "writable root": (PODS, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "root file system"),
    "capability": (PODS, "capabilities: {drop: [ALL]}", "capabilities: {drop: [ALL], add: [NET_ADMIN]}", "capabilities"),
    "all capabilities": (PODS, "capabilities: {drop: [ALL]}", "capabilities: {}", "capabilities"),
    "privileged": (PODS, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: true\nprivileged: true", "privileged"),
    "host network": (PODS, "enableServiceLinks: false", "enableServiceLinks: false\nhostNetwork: true", "hostNetwork"),
    "host processes": (PODS, "enableServiceLinks: false", "enableServiceLinks: false\nhostPID: true", "hostPID"),
    "host folder": (PODS, "emptyDir: {sizeLimit: 64Mi}", "hostPath: {path: /}", "folder of the machine"),
    "endless scratch": (PODS, "emptyDir: {sizeLimit: 64Mi}", "emptyDir: {}", "has no size"),
    "token": (PODS, "automountServiceAccountToken: false", "automountServiceAccountToken: true", "has a token"),
    "service links": (PODS, "enableServiceLinks: false", "enableServiceLinks: true", "other services"),
    "no limits": (JOB, "limits: {memory: 256Mi}", "limits: {}", "no memory limit"),
    "no requests": (JOB, "requests: {cpu: 50m, memory: 96Mi}", "requests: {}", "asks for nothing"),
    "no liveness": (PODS, "livenessProbe:", "otherProbe:", "no livenessProbe"),
    "deep liveness": (PODS, "path: /healthz", "path: /readyz", "asks more than the process"),
    "no drain": (PODS, "preStop:", "postStart:", "before others know"),
    "latest": ("_names.tpl", "default (first .).Chart.AppVersion }}{{ end }}", 'default "latest" }}{{ end }}', "no fixed image"),
    "wildcard": (RIGHTS, "verbs: [create]", 'verbs: ["*"]', "wildcard"),
    "every secret": (RIGHTS, "verbs: [create]", "verbs: [create, get]", "of every"),
    "cluster role": (RIGHTS, "kind: Role\n", "kind: ClusterRole\n", "beyond the namespace"),
    "secret in the environment": (
        JOB, "- {name: QMESH_HOME, value: /tmp}",
        "- {name: PASSWORD, valueFrom: {secretKeyRef: {name: x, key: y}}}", "holds a secret",
    ),
    "open registry": ("registry/service.yaml", "clusterIP: None", "type: LoadBalancer", "open to the outside"),
    "open nodes": ("nodes/service.yaml", "clusterIP: None", "type: NodePort", "open to the outside"),
    "host port": ("gateway/deployment.yaml", "containerPort: 8080}", "containerPort: 8080, hostPort: 8080}", "a port of the machine"),
    "default account": (JOB, 'serviceAccountName: {{ include "qmesh.name" (list . "migrations") }}', "serviceAccountName: default", "default account"),
    "account's token": ("gateway/serviceaccount.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "by default"),
    "lost ledger": ("runtime/statefulset.yaml", "volumeClaimTemplates:", "otherTemplates:", "lost with the pod"),
    "no wall": ("network/deny.yaml", ".Values.networkPolicy.enabled", "false", "no policy closes it"),
    "one way": ("network/edges.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]", "no policy closes it"),
    "open wall": ("network/deny.yaml", "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress, Egress]\n  ingress: [{}]", "allows everything"),
    "secret in the chart": ("nodes/service.yaml", "kind: Service", "kind: Secret", "a Secret in the chart"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, tmp_path: Path) -> None:
    """A chart with one forbidden field is refused for that field."""
    file, sane, mad, why = MUTANTS[name]
    chart = tmp_path / "qmesh"
    shutil.copytree(CHART, chart)
    template = chart / "templates" / file
    text = template.read_text()
    assert sane in text, f"{file} has no {sane!r}: the mutant is of another time"
    template.write_text(text.replace(sane, mad))
    if name in {"no wall", "one way"}:  # each of the two would catch what the other lets through
        other = chart / "templates" / "network" / ("edges.yaml" if name == "no wall" else "deny.yaml")
        other.write_text("")
    found = violations(render("-f", str(CASES[0]), chart=chart))
    assert any(why in line for line in found), found
