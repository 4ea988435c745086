{{/* Names, labels, images and addresses. A part is called by (list $ "part"). */}}

{{- define "qmesh.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "qmesh" .Release.Name -}}
{{ .Release.Name }}
{{- else -}}
{{ .Release.Name }}-qmesh
{{- end -}}
{{- end -}}

{{- define "qmesh.name" -}}
{{ include "qmesh.fullname" (first .) }}-{{ last . }}
{{- end -}}

{{- define "qmesh.selector" -}}
app.kubernetes.io/name: qmesh
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "qmesh.labels" -}}
{{ include "qmesh.selector" . }}
app.kubernetes.io/part-of: qmesh
app.kubernetes.io/version: {{ (first .).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (first .).Release.Service }}
helm.sh/chart: {{ (first .).Chart.Name }}-{{ (first .).Chart.Version }}
{{- with (first .).Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "qmesh.image" -}}
{{- $image := (first .).Values.image -}}
{{- $digest := get $image.digests (last .) -}}
{{ $image.registry }}/{{ $image.repository }}/{{ last . }}{{ if $digest }}@{{ $digest }}{{ else }}:{{ get $image.tags (last .) | default $image.tag | default (first .).Chart.AppVersion }}{{ end }}
{{- end -}}

{{- define "qmesh.domain" -}}
{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{/* gRPC target of a part: every pod of its headless Service. */}}
{{- define "qmesh.target" -}}
dns:///{{ include "qmesh.name" . }}.{{ include "qmesh.domain" (first .) }}:50051
{{- end -}}

{{/* Name of a Secret of keys: the one that is brought, or the release's own. (list $ "kind" $existing) */}}
{{- define "qmesh.secret" -}}
{{ last . | default (printf "%s-%s" (include "qmesh.fullname" (first .)) (index . 1)) }}
{{- end -}}
