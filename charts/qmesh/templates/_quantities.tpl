{{/* Durations, sizes and CPU as numbers. */}}

{{- define "qmesh.ns" -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $factor := get (dict "ns" 1.0 "us" 1e3 "ms" 1e6 "s" 1e9 "m" 6e10 "h" 3.6e12 "d" 8.64e13) $unit -}}
{{ mulf $number $factor | int64 }}
{{- end -}}

{{- define "qmesh.seconds" -}}
{{ divf (include "qmesh.ns" . | float64) 1e9 | ceil | int64 }}
{{- end -}}

{{- define "qmesh.bytes" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- $factor := get (dict "" 1.0 "B" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "KB" 1e3 "MB" 1e6 "GB" 1e9 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "KiB" 1024.0 "MiB" 1048576.0 "GiB" 1073741824.0) $unit -}}
{{ mulf $number $factor | int64 }}
{{- end -}}

{{- define "qmesh.millicores" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}{{ trimSuffix "m" $text | int64 }}{{- else -}}{{ mulf (float64 $text) 1000 | int64 }}{{- end -}}
{{- end -}}
