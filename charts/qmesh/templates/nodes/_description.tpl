{{/* What the nodes of a pool are, as JSON. (list $ $pool), where $pool has the defaults in it */}}
{{- define "qmesh.description" -}}
{{- $root := first . -}}{{- $pool := last . -}}
{{- $services := list -}}
{{- range $name, $offer := $pool.services | default $root.Values.nodes.services -}}
{{- $services = append $services (dict
  "service_type" $name
  "fidelity" (float64 $offer.fidelity)
  "qubit_min" (int $offer.qubitMin)
  "qubit_max" (int $offer.qubitMax)
  "duration_ns" (include "qmesh.ns" $offer.duration | int64)
  "gate_set" ($offer.gates | default list)) -}}
{{- end -}}
{{- $links := list -}}
{{- range $pool.links | default list -}}
{{- $links = append $links (dict
  "pool" (include "qmesh.name" (list $root .to))
  "pair_fidelity" (float64 .pairFidelity)
  "pair_rate_hz" (float64 .pairRateHz)) -}}
{{- end -}}
{{- with $root.Values.nodes.links -}}
{{- $links = append $links (dict "pair_fidelity" (float64 .pairFidelity) "pair_rate_hz" (float64 .pairRateHz)) -}}
{{- end -}}
{{- $behaviour := dict -}}
{{- range $key, $value := $pool.behaviour | default dict -}}
{{- $_ := set $behaviour ($key | snakecase) (float64 $value) -}}
{{- end -}}
{{- dict
  "services" $services
  "data_qubits" (int $pool.dataQubits)
  "link_qubits" (int $pool.linkQubits)
  "state_bytes" (include "qmesh.bytes" $pool.stateBytes | int64)
  "concurrency" (int $pool.concurrency)
  "t1_ns" (include "qmesh.ns" $pool.t1 | int64)
  "t2_ns" (include "qmesh.ns" $pool.t2 | int64)
  "readout_fidelity" (float64 $pool.readoutFidelity)
  "links" $links
  "behaviour" $behaviour | toJson -}}
{{- end -}}
