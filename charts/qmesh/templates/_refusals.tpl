{{/* Values that would make a weak or a broken mesh, and that a schema cannot see. All of them are named at once. */}}

{{- define "qmesh.refusals" -}}
{{- $v := .Values -}}
{{- $found := list -}}
{{- $production := eq $v.profile "production" -}}
{{- range $line := include "qmesh.hostileText" (dict "path" "" "value" $v) | splitList "\n" -}}
{{- if trim $line }}{{ $found = append $found (trim $line) }}{{ end -}}
{{- end -}}

{{- $full := include "qmesh.fullname" . -}}
{{- if or (gt (len $full) 40) (not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $full)) -}}
{{- $found = append $found (printf "the name %q should be at most 40 characters, lower case letters, digits and hyphens, a letter first: choose another release name or fullnameOverride" $full) -}}
{{- end -}}
{{- if not $v.postgres.secret.name -}}
{{- $found = append $found "postgres.secret.name is empty: name the Secret that holds the database's URL" -}}
{{- end -}}
{{- if and (eq $v.documents.store "mongodb") (not $v.mongodb.secret.name) -}}
{{- $found = append $found "mongodb.secret.name is empty: name the Secret that holds the document server's URL, or set documents.store to postgres" -}}
{{- end -}}
{{- if and (ne $v.documents.store "mongodb") $v.mongodb.secret.name -}}
{{- $found = append $found (printf "mongodb.secret.name is set, but documents.store is %s: choose one of the two" $v.documents.store) -}}
{{- end -}}
{{- if gt (int $v.registry.replicas) 1 -}}
{{- $found = append $found (printf "registry.replicas is %d: the registry keeps the state of its peers in memory and has no lease, so it runs once; set it to 1" (int $v.registry.replicas)) -}}
{{- end -}}

{{- range $part := list "gateway" "planner" "registry" "reservation" "runtime" "analyzer" -}}
{{- $found = concat $found (include "qmesh.resourceProblems" (list $part (get $v $part).resources) | fromJsonArray) -}}
{{- end -}}
{{- range $part := list "gateway" "planner" "reservation" "runtime" "analyzer" -}}
{{- $values := get $v $part -}}
{{- $replicas := int $values.replicas -}}
{{- with $values.autoscaling -}}
{{- if .enabled -}}
{{- $replicas = int .minReplicas -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- $found = append $found (printf "%s.autoscaling.minReplicas is more than maxReplicas" $part) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (gt $replicas 1) (ge (int $values.podDisruptionBudget.minAvailable) $replicas) -}}
{{- $found = append $found (printf "%s.podDisruptionBudget.minAvailable is %d of %d replicas: no pod could ever be moved; make it less" $part (int $values.podDisruptionBudget.minAvailable) $replicas) -}}
{{- end -}}
{{- end -}}

{{- $workers := mul (int ($v.analyzer.settings.workers | default 2)) (include "qmesh.bytes" ($v.analyzer.settings.workerMemory | default "4GiB") | int64) -}}
{{- if lt (include "qmesh.bytes" $v.analyzer.resources.limits.memory | int64) $workers -}}
{{- $found = append $found (printf "analyzer.resources.limits.memory (%s) is less than analyzer.settings.workers times workerMemory (%d MiB): a worker would be killed before it could refuse" $v.analyzer.resources.limits.memory (div $workers 1048576)) -}}
{{- end -}}

{{- $names := list -}}
{{- $taken := list "gateway" "planner" "registry" "reservation" "runtime" "analyzer" "nodes" "node" "keys" "migrations" "peers" "test" "network" "deny" "authority" -}}
{{- range $v.nodes.pools -}}{{- $names = append $names .name -}}{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- $found = append $found (printf "nodes.pools: two pools have one name (%s): their nodes would have one identity" (join ", " $names)) -}}
{{- end -}}
{{- range $index, $own := $v.nodes.pools -}}
{{- $pool := mergeOverwrite (deepCopy $v.nodes.defaults) $own -}}
{{- $path := printf "nodes.pools[%d]" $index -}}
{{- if has $pool.name $taken -}}
{{- $found = append $found (printf "%s.name is %q, which is a part of the mesh: choose another" $path $pool.name) -}}
{{- end -}}
{{- $found = concat $found (include "qmesh.resourceProblems" (list $path $pool.resources) | fromJsonArray) -}}
{{- if le (include "qmesh.bytes" $pool.resources.limits.memory | int64) (include "qmesh.bytes" $pool.stateBytes | int64) -}}
{{- $found = append $found (printf "%s.resources.limits.memory (%s) should be more than stateBytes (%s): the node would be killed before it could refuse a state" $path $pool.resources.limits.memory $pool.stateBytes) -}}
{{- end -}}
{{- range $name, $offer := $pool.services | default dict -}}
{{- if gt (int $offer.qubitMin) (int $offer.qubitMax) -}}
{{- $found = append $found (printf "%s.services.%s: qubitMin is more than qubitMax" $path $name) -}}
{{- end -}}
{{- end -}}
{{- range $pool.links | default list -}}
{{- if not (has .to $names) -}}
{{- $found = append $found (printf "%s.links: there is no pool %q; there are: %s" $path .to (join ", " $names)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and $v.gateway.ingress.enabled (not $v.gateway.ingress.host) -}}
{{- $found = append $found "gateway.ingress.host is empty: name the host, or the gateway would answer for every one" -}}
{{- end -}}
{{- if and $v.gateway.httpRoute.enabled (not (and $v.gateway.httpRoute.host $v.gateway.httpRoute.gateway)) -}}
{{- $found = append $found "gateway.httpRoute needs host and gateway" -}}
{{- end -}}

{{- if $production -}}
{{- range $part := list "gateway" "planner" "registry" "reservation" "runtime" "analyzer" "node" "keys" -}}
{{- if not (get $v.image.digests $part) -}}
{{- $found = append $found (printf "image.digests.%s is missing: profile production runs images by digest (sha256:...)" $part) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.image.tag "latest" -}}
{{- $found = append $found "image.tag is latest, which profile production refuses: name a version" -}}
{{- end -}}
{{- range $part, $tag := $v.image.tags -}}
{{- $found = append $found (printf "image.tags.%s is %s, which profile production refuses: it runs images by digest" $part $tag) -}}
{{- end -}}
{{- if ne $v.documents.store "mongodb" -}}
{{- $found = append $found (printf "documents.store is %s, which profile production refuses: name a MongoDB server" $v.documents.store) -}}
{{- end -}}
{{- if not $v.networkPolicy.enabled -}}
{{- $found = append $found "networkPolicy.enabled is false, which profile production refuses" -}}
{{- end -}}
{{- if not $v.tls.enabled -}}
{{- $found = append $found "tls.enabled is false, which profile production refuses" -}}
{{- else if lt (include "qmesh.seconds" $v.tls.validity | int64) 3600 -}}
{{- $found = append $found (printf "tls.validity is %s: certificates should be good for an hour at least" $v.tls.validity) -}}
{{- end -}}
{{- if has (int $v.nats.streamReplicas) (list 2 4) -}}
{{- $found = append $found (printf "nats.streamReplicas is %d: an even number of copies has no better quorum than one less; use 1, 3 or 5" (int $v.nats.streamReplicas)) -}}
{{- end -}}
{{- if gt (int $v.nats.streamReplicas) (int $v.nats.servers) -}}
{{- $found = append $found (printf "nats.streamReplicas is %d, but nats.servers is %d: a server holds one copy" (int $v.nats.streamReplicas) (int $v.nats.servers)) -}}
{{- end -}}
{{- if and $v.gateway.ingress.enabled $v.gateway.httpRoute.enabled -}}
{{- $found = append $found "gateway.ingress.enabled and gateway.httpRoute.enabled are both true: choose the way in" -}}
{{- end -}}
{{- if and $v.gateway.ingress.enabled (not $v.gateway.ingress.tlsSecret) -}}
{{- $found = append $found "gateway.ingress.tlsSecret is empty, which profile production refuses: API keys would pass in the clear" -}}
{{- end -}}
{{- if and (hasPrefix "nats://" $v.nats.url) $v.nats.authority.secret -}}
{{- $found = append $found "nats.authority.secret is set, but nats.url begins with nats://: use tls://, or leave the authority out" -}}
{{- end -}}
{{- end -}}

{{- if $found -}}
{{- fail (printf "\n\nvalues that qmesh refuses:\n  - %s\n" (join "\n  - " $found)) -}}
{{- end -}}
{{- end -}}

{{/* Problems of requests and limits, as a JSON array. (list "path" $resources) */}}
{{- define "qmesh.resourceProblems" -}}
{{- $path := first . -}}{{- $r := last . -}}
{{- $found := list -}}
{{- if lt (include "qmesh.bytes" $r.limits.memory | int64) (include "qmesh.bytes" $r.requests.memory | int64) -}}
{{- $found = append $found (printf "%s.resources.limits.memory (%s) is less than requests.memory (%s)" $path $r.limits.memory $r.requests.memory) -}}
{{- end -}}
{{- if and $r.limits.cpu (lt (include "qmesh.millicores" $r.limits.cpu | int64) (include "qmesh.millicores" $r.requests.cpu | int64)) -}}
{{- $found = append $found (printf "%s.resources.limits.cpu (%s) is less than requests.cpu (%s)" $path $r.limits.cpu $r.requests.cpu) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* A line for each text that is a template, has several lines, or holds credentials. (dict "path" … "value" …) */}}
{{- define "qmesh.hostileText" -}}
{{- $path := .path -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value }}
{{ include "qmesh.hostileText" (dict "path" (trimPrefix "." (printf "%s.%s" $path $key)) "value" $value) }}
{{- if regexMatch "[\\r\\n]|\\{\\{" $key }}
{{ $path }} has a key with a line break or a template: {{ $key | quote }}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value }}
{{ include "qmesh.hostileText" (dict "path" (printf "%s[%d]" $path $index) "value" $value) }}
{{- end -}}
{{- else if kindIs "string" .value -}}
{{- if contains "{{" .value }}
{{ $path }} holds "{{ "{{" }}": values are not templates
{{- end -}}
{{- if regexMatch "[\\r\\n]" .value }}
{{ $path }} holds a line break
{{- end -}}
{{- if regexMatch "[a-z]+://[^/ ]*:[^/ ]*@" .value }}
{{ $path }} holds a password: put it into a Secret and name that
{{- end -}}
{{- end -}}
{{- end -}}
