{{- define "mtasts.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What picks the pods of a role, and never changes: dict "root" "component". */}}
{{- define "mtasts.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* dict "root" "component". */}}
{{- define "mtasts.labels" -}}
{{ include "mtasts.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: mtasts
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mtasts.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "image.repository: name the repository to which you pushed the image" $image.repository -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) }}
{{- end -}}
{{- end -}}

{{/* Whether one of our own nameservers answers for a zone: "true" or nothing. */}}
{{- define "mtasts.hasEmbeddedZone" -}}
{{- $zones := default dict .Values.config.zones -}}
{{- $found := not $zones -}}
{{- range $zones -}}
{{- if eq (default "embedded" .provider) "embedded" -}}{{- $found = true -}}{{- end -}}
{{- end -}}
{{- if $found -}}true{{- end -}}
{{- end -}}

{{/* The roles of this release, as JSON: {"roles": […]}. */}}
{{- define "mtasts.roles" -}}
{{- $roles := list -}}
{{- range list "api" "worker" "edge" -}}
{{- if (index $.Values .).enabled -}}{{- $roles = append $roles . -}}{{- end -}}
{{- end -}}
{{- if and .Values.nameserver.enabled (include "mtasts.hasEmbeddedZone" .) -}}{{- $roles = append $roles "nameserver" -}}{{- end -}}
{{- if and .Values.intake.enabled (dig "reports" "host" "" .Values.config) -}}{{- $roles = append $roles "intake" -}}{{- end -}}
{{- dict "roles" $roles | toJson -}}
{{- end -}}

{{/* The common `pod` with the role's own over it, as JSON: dict "root" "role". */}}
{{- define "mtasts.pod" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.pod) (deepCopy (index .root.Values .role).pod) | toJson -}}
{{- end -}}

{{/* Seconds that the kubelet waits: until balancers have taken notice, the edge's own drain, the 25 s in which a role
     finishes what it has begun, and some to spare. dict "root" "preStop". */}}
{{- define "mtasts.grace" -}}
{{- add (int .preStop) (int (dig "edge" "drain_seconds" 0 .root.Values.config)) 25 5 -}}
{{- end -}}

{{- define "mtasts.serviceFamily" -}}
{{- with .Values.network.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- end -}}

{{/* Of a Service of the type LoadBalancer or NodePort: the values of its `service`. */}}
{{- define "mtasts.balancer" -}}
type: {{ .type }}
{{- if ne .type "ClusterIP" }}
externalTrafficPolicy: {{ .externalTrafficPolicy }}
{{- end }}
{{- if eq .type "LoadBalancer" }}
{{- with .loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with .loadBalancerIP }}
loadBalancerIP: {{ . }}
{{- end }}
{{- with .loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What makes no sense, said before anything is rendered. */}}
{{- define "mtasts.refuse" -}}
{{- $config := .Values.config -}}
{{- $_ := required "config.service.zone: name the service's own DNS zone, such as sts.example.net" $config.service.zone -}}
{{- range list "data_dir" "admin" "secrets" "redis" -}}
{{- if hasKey $config . -}}{{- fail (printf "config.%s is set by the chart: see `secrets`, `redis` and `admin` of its values" .) -}}{{- end -}}
{{- end -}}
{{- $owned := dict
  "database" (list "url" "api_url" "worker_url" "edge_url" "intake_url")
  "api" (list "listen" "operator_token" "operator_token_file")
  "edge" (list "https_listen" "http_listen" "replica_dir" "proxy_protocol_from")
  "nameserver" (list "listen" "replica_file" "dnssec_keys" "proxy_protocol_from")
  "intake" (list "smtp_listen" "https_listen" "http_listen" "certificate_file" "key_file" "proxy_protocol_from")
  "issuer" (list "eab_hmac_key" "root_file")
  "probe" (list "extra_roots_file")
  "mail" (list "password" "password_file")
  "domain_connect" (list "private_key_file")
  "telemetry" (list "authorization") -}}
{{- range $section, $keys := $owned -}}
{{- range $keys -}}
{{- if hasKey (default dict (index $config $section)) . -}}
{{- fail (printf "config.%s.%s is set by the chart, from its own values or from a Secret that they name, or by pod.env" $section .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $id, $zone := default dict $config.zones -}}
{{- range list "secret" "secret_file" -}}
{{- if hasKey $zone . -}}{{- fail (printf "config.zones.%s.%s: name a Secret in zoneSecrets.%s" $id . $id) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range default list (dig "nameserver" "transfers" list $config) -}}
{{- if or (hasKey . "secret") (hasKey . "secret_file") -}}{{- fail "config.nameserver.transfers: name a Secret in nameserver.transferSecrets" -}}{{- end -}}
{{- end -}}
{{- range $id, $_ := .Values.zoneSecrets -}}
{{- if not (hasKey (default dict $config.zones) $id) -}}{{- fail (printf "zoneSecrets.%s: there is no zone of that id in config.zones" $id) -}}{{- end -}}
{{- end -}}
{{- if not (dig "nameserver" "edge_addresses" list $config) -}}
{{- fail "config.nameserver.edge_addresses: name the addresses at which the world reaches the edges (those of the edge's load balancer)" -}}
{{- end -}}
{{- if not (dig "api" "public_url" "" $config) -}}
{{- fail "config.api.public_url: say how callers reach the API, such as https://api.sts.example.net" -}}
{{- end -}}
{{- if include "mtasts.hasEmbeddedZone" . -}}
{{- if not (dig "zone" "authoritative" list $config) -}}
{{- fail "config.zone.authoritative: name the addresses (address:53) of the nameserver's load balancer, where published records are read back, or put the zone at a provider by config.zones" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $config.issuer.kind "local-ca") (or (gt (int .Values.worker.replicas) 1) .Values.worker.autoscaling.enabled) -}}
{{- fail "config.issuer.kind: each worker would have a local CA of its own: use acme, or worker.replicas: 1" -}}
{{- end -}}
{{- end -}}
