{{/* What every pod has. A part is called by (list $ "part" $values), where $values has resources, drain and the like. */}}

{{- define "qmesh.pod" -}}
{{- $root := first . -}}{{- $part := index . 1 -}}{{- $values := index . 2 -}}
serviceAccountName: {{ include "qmesh.name" (list $root $part) }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ add (include "qmesh.seconds" $values.drain) 10 }}
securityContext: {{- include "qmesh.podSecurity" $root | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "qmesh.selector" (list $root $part) | nindent 8 }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "qmesh.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "qmesh.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* A service's container apart from its environment, ports and mounts. The start is watched by a command that waits, because what
it says becomes an event, and because one command that asks often costs less than a command for each question; later probes are cheap.
Liveness asks the process only. */}}
{{- define "qmesh.container" -}}
{{- $root := first . -}}{{- $part := index . 1 -}}{{- $values := index . 2 -}}
image: {{ include "qmesh.image" (list $root $part) }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext: {{- include "qmesh.containerSecurity" $root | nindent 2 }}
resources: {{- toYaml $values.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
lifecycle:
  preStop: {sleep: {seconds: 3}}
startupProbe:
  exec: {command: [ready, "5"]}
  periodSeconds: 1
  timeoutSeconds: 8
  failureThreshold: 1800
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 3
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /healthz, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* Environment of a service: its own settings, and what all share. */}}
{{- define "qmesh.env" -}}
{{- $root := first . -}}{{- $part := index . 1 -}}{{- $values := index . 2 -}}
{{- $section := printf "QMESH_%s__" (upper $part) -}}
- {name: QMESH_PROFILE, value: {{ include "qmesh.profile" $root }}}
- {name: QMESH_HOME, value: /tmp}
- {name: QMESH_PATIENCE, value: {{ $root.Values.patience | quote }}}
- {name: QMESH_LOG__LEVEL, value: {{ $root.Values.log.level }}}
- {name: {{ $section }}LISTEN, value: "0.0.0.0:50051"}
- {name: {{ $section }}HTTP, value: "0.0.0.0:9090"}
- {name: {{ $section }}DRAIN, value: {{ $values.drain | quote }}}
{{- range $key, $value := $values.settings }}
- {name: {{ $section }}{{ $key | snakecase | upper }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- if $root.Values.tls.enabled }}
- {name: QMESH_TLS__CERT_FILE, value: /etc/qmesh/tls/tls.crt}
- {name: QMESH_TLS__KEY_FILE, value: /etc/qmesh/tls/tls.key}
- {name: QMESH_TLS__CA_FILE, value: /etc/qmesh/tls/ca.crt}
{{- end }}
{{- if has $part (list "planner" "registry" "reservation" "runtime") }}
- {name: QMESH_POSTGRES__URL_FILE, value: /etc/qmesh/postgres/url}
- {name: QMESH_POSTGRES__WRITER_ROLE, value: "true"}
- {name: QMESH_POSTGRES__POOL_MAX, value: {{ $root.Values.postgres.poolMax | quote }}}
{{- end }}
{{- if has $part (list "gateway" "registry" "runtime") }}
- {name: QMESH_NATS__URL, value: {{ $root.Values.nats.url | quote }}}
- {name: QMESH_NATS__STREAM_REPLICAS, value: {{ $root.Values.nats.streamReplicas | quote }}}
{{- if $root.Values.nats.secret.name }}
- {name: QMESH_NATS__TOKEN_FILE, value: /etc/qmesh/nats/token}
{{- end }}
{{- if $root.Values.nats.authority.secret }}
- {name: QMESH_NATS__CA_FILE, value: /etc/qmesh/nats/ca.crt}
{{- end }}
{{- end }}
{{- end -}}

{{- define "qmesh.profile" -}}
{{ eq .Values.profile "production" | ternary "production" "local" }}
{{- end -}}

{{- define "qmesh.mounts" -}}
{{- $root := first . -}}{{- $part := index . 1 -}}
- {name: tmp, mountPath: /tmp}
{{- if $root.Values.tls.enabled }}
- {name: tls, mountPath: /etc/qmesh/tls, readOnly: true}
{{- end }}
{{- if has $part (list "planner" "registry" "reservation" "runtime") }}
- {name: postgres, mountPath: /etc/qmesh/postgres, readOnly: true}
{{- end }}
{{- if and (has $part (list "gateway" "registry" "runtime")) (or $root.Values.nats.secret.name $root.Values.nats.authority.secret) }}
- {name: nats, mountPath: /etc/qmesh/nats, readOnly: true}
{{- end }}
{{- end -}}

{{- define "qmesh.volumes" -}}
{{- $root := first . -}}{{- $part := index . 1 -}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- if $root.Values.tls.enabled }}
- name: tls
  secret: {secretName: {{ include "qmesh.name" (list $root $part) }}-tls, defaultMode: 0440}
{{- end }}
{{- if has $part (list "planner" "registry" "reservation" "runtime") }}
- name: postgres
  secret:
    secretName: {{ $root.Values.postgres.secret.name }}
    defaultMode: 0440
    items: [{key: {{ $root.Values.postgres.secret.key }}, path: url}]
{{- end }}
{{- if and (has $part (list "gateway" "registry" "runtime")) (or $root.Values.nats.secret.name $root.Values.nats.authority.secret) }}
- name: nats
  projected:
    defaultMode: 0440
    sources:
      {{- with $root.Values.nats.secret }}
      {{- if .name }}
      - secret: {name: {{ .name }}, items: [{key: {{ .key }}, path: token}]}
      {{- end }}
      {{- end }}
      {{- with $root.Values.nats.authority }}
      {{- if .secret }}
      - secret: {name: {{ .secret }}, items: [{key: {{ .key }}, path: ca.crt}]}
      {{- end }}
      {{- end }}
{{- end }}
{{- end -}}

{{/* Metadata and pod template head of a workload. */}}
{{- define "qmesh.podMetadata" -}}
{{- $root := first . -}}{{- $part := index . 1 -}}{{- $values := index . 2 -}}
labels: {{- include "qmesh.labels" (list $root $part) | nindent 2 }}
{{- with $values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
