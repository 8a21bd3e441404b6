{{- define "mtasts.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . -}}{{ . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{/* A value as TOML. YAML has one kind of number, TOML has two. */}}
{{- define "mtasts.toml.value" -}}
{{- if kindIs "map" . -}}
{{- $parts := list -}}
{{- range $key := keys . | sortAlpha -}}
{{- $value := index $ $key -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $parts = append $parts (printf "%s = %s" (include "mtasts.toml.key" $key) (include "mtasts.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{ {{ join ", " $parts }} }
{{- else if kindIs "slice" . -}}
{{- $parts := list -}}
{{- range . -}}{{- $parts = append $parts (include "mtasts.toml.value" .) -}}{{- end -}}
[{{ join ", " $parts }}]
{{- else if kindIs "string" . -}}
{{ toJson . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{/* Where pods find things. */}}
{{- define "mtasts.secretsFolder" -}}/etc/mtasts/secrets{{- end -}}

{{/* The whole configuration: what the values say, and what follows from the chart. As JSON. */}}
{{- define "mtasts.config" -}}
{{- include "mtasts.refuse" . -}}
{{- $values := .Values -}}
{{- $secrets := include "mtasts.secretsFolder" . -}}
{{- $config := deepCopy $values.config -}}
{{- range list "api" "edge" "nameserver" "intake" "mail" "issuer" "probe" "domain_connect" -}}
{{- if not (hasKey $config .) -}}{{- $_ := set $config . dict -}}{{- end -}}
{{- end -}}
{{- $any := ternary "[::]" "0.0.0.0" $values.network.ipv6 -}}
{{- $_ := set $config "data_dir" "/var/lib/mtasts" -}}
{{- $_ := set $config "admin" (dict "listen" (printf "%s:%d" $any (int $values.admin.port))) -}}
{{- $_ := set $config "secrets" (dict "key_ring_file" (printf "%s/key-ring" $secrets)) -}}
{{- $_ := set $config.api "listen" (list (printf "%s:%d" $any (int $values.api.ports.http))) -}}
{{- $_ := set $config.api "operator_token_file" (printf "%s/operator-token" $secrets) -}}
{{- $_ := set $config.edge "https_listen" (list (printf "%s:%d" $any (int $values.edge.ports.https))) -}}
{{- $_ := set $config.edge "http_listen" (list (printf "%s:%d" $any (int $values.edge.ports.http))) -}}
{{- with $values.edge.proxyProtocolFrom -}}{{- $_ := set $config.edge "proxy_protocol_from" . -}}{{- end -}}
{{- $dns := list (printf "0.0.0.0:%d" (int $values.nameserver.ports.dns)) -}}
{{- if $values.network.ipv6 -}}{{- $dns = append $dns (printf "[::]:%d" (int $values.nameserver.ports.dns)) -}}{{- end -}}
{{- $_ := set $config.nameserver "listen" $dns -}}
{{- with $values.nameserver.proxyProtocolFrom -}}{{- $_ := set $config.nameserver "proxy_protocol_from" . -}}{{- end -}}
{{- $_ := set $config.intake "smtp_listen" (list (printf "%s:%d" $any (int $values.intake.ports.smtp))) -}}
{{- $_ := set $config.intake "https_listen" (list (printf "%s:%d" $any (int $values.intake.ports.https))) -}}
{{- $_ := set $config.intake "http_listen" list -}}
{{- with $values.intake.proxyProtocolFrom -}}{{- $_ := set $config.intake "proxy_protocol_from" . -}}{{- end -}}
{{- if $values.intake.tlsSecret -}}
{{- $_ := set $config.intake "certificate_file" (printf "%s/intake/tls.crt" $secrets) -}}
{{- $_ := set $config.intake "key_file" (printf "%s/intake/tls.key" $secrets) -}}
{{- end -}}
{{- if $values.mail.existingSecret -}}{{- $_ := set $config.mail "password_file" (printf "%s/mail-password" $secrets) -}}{{- end -}}
{{- if $values.domainConnect.existingSecret -}}{{- $_ := set $config.domain_connect "private_key_file" (printf "%s/domain-connect.pem" $secrets) -}}{{- end -}}
{{- if $values.trust.existingConfigMap -}}
{{- if $values.trust.forIssuer -}}{{- $_ := set $config.issuer "root_file" "/etc/mtasts/trust/ca.pem" -}}{{- end -}}
{{- $_ := set $config.probe "extra_roots_file" "/etc/mtasts/trust/ca.pem" -}}
{{- end -}}
{{- range $id, $_ := $values.zoneSecrets -}}
{{- $_ := set (index $config.zones $id) "secret_file" (printf "%s/zones/%s" $secrets $id) -}}
{{- end -}}
{{- range default list $config.nameserver.transfers -}}
{{- if hasKey $values.nameserver.transferSecrets .name -}}{{- $_ := set . "secret_file" (printf "%s/transfers/%s" $secrets .name) -}}{{- end -}}
{{- end -}}
{{- if $values.nameserver.dnssecKeys -}}
{{- $keys := list -}}
{{- range $index, $key := $values.nameserver.dnssecKeys -}}
{{- $keys = append $keys (dict "file" (printf "%s/dnssec/%d" $secrets $index) "kind" $key.kind "role" (default "active" $key.role)) -}}
{{- end -}}
{{- $_ := set $config.nameserver "dnssec_keys" $keys -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/* The same as TOML. */}}
{{- define "mtasts.toml" -}}
{{- $config := include "mtasts.config" . | fromJson -}}
{{- range $key := keys $config | sortAlpha -}}
{{- $value := index $config $key -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $key }} = {{ include "mtasts.toml.value" $value }}
{{- end -}}
{{- end -}}
{{- range $name := keys $config | sortAlpha -}}
{{- $section := index $config $name -}}
{{- if and (kindIs "map" $section) $section }}

[{{ include "mtasts.toml.key" $name }}]
{{- range $key := keys $section | sortAlpha -}}
{{- $value := index $section $key -}}
{{- if not (kindIs "invalid" $value) }}
{{ include "mtasts.toml.key" $key }} = {{ include "mtasts.toml.value" $value }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
{{ end -}}

{{/* The environment of a role: the addresses of database and Redis, and no others. The migration has the logins that it is
     told to make (--roles) too. dict "root" "role". */}}
{{- define "mtasts.env" -}}
{{- $values := .root.Values -}}
{{- $login := dict "api" "api" "worker" "worker" "edge" "edge" "nameserver" "edge" "intake" "intake" -}}
{{- $key := ternary "owner" (get $login .role) (or (eq .role "migrate") (eq $values.database.logins "shared")) -}}
- name: {{ ternary "MTASTS__DATABASE__URL" (printf "MTASTS__DATABASE__%s_URL" (upper $key)) (eq $key "owner") }}
  valueFrom:
    secretKeyRef:
      name: {{ $values.database.existingSecret }}
      key: {{ index $values.database.keys $key }}
{{- if and (eq .role "migrate") (has "--roles" $values.migrate.args) }}
{{- range list "api" "worker" "edge" "intake" }}
- name: MTASTS__DATABASE__{{ upper . }}_URL
  valueFrom:
    secretKeyRef:
      name: {{ $values.database.existingSecret }}
      key: {{ index $values.database.keys . }}
{{- end }}
{{- end }}
{{- if and $values.redis.existingSecret (ne .role "migrate") }}
- name: MTASTS__REDIS__URL
  valueFrom:
    secretKeyRef:
      name: {{ $values.redis.existingSecret }}
      key: {{ $values.redis.key }}
{{- end }}
{{- if and $values.issuerAccount.existingSecret (has .role (list "worker" "migrate")) }}
- name: MTASTS__ISSUER__EAB_HMAC_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $values.issuerAccount.existingSecret }}
      key: {{ $values.issuerAccount.hmacKeyKey }}
{{- end }}
{{- end -}}

{{/* What of the Secrets a role gets as files. The migration looks at all of the configuration before it begins.
     dict "root" "role". */}}
{{- define "mtasts.secretSources" -}}
{{- $values := .root.Values -}}
{{- $all := eq .role "migrate" -}}
{{- $items := list -}}
{{- if or $all (has .role (list "api" "worker" "edge" "nameserver")) -}}
{{- $items = append $items (dict "key" $values.secrets.keyRingKey "path" "key-ring") -}}
{{- end -}}
{{- if or $all (eq .role "api") -}}
{{- $items = append $items (dict "key" $values.secrets.operatorTokenKey "path" "operator-token") -}}
{{- end -}}
{{- $sources := list -}}
{{- if $items -}}{{- $sources = append $sources (dict "secret" (dict "name" $values.secrets.existingSecret "items" $items)) -}}{{- end -}}
{{- if and $values.mail.existingSecret (or $all (eq .role "worker")) -}}
{{- $sources = append $sources (dict "secret" (dict "name" $values.mail.existingSecret "items" (list (dict "key" $values.mail.passwordKey "path" "mail-password")))) -}}
{{- end -}}
{{- if and $values.domainConnect.existingSecret (or $all (eq .role "api")) -}}
{{- $sources = append $sources (dict "secret" (dict "name" $values.domainConnect.existingSecret "items" (list (dict "key" $values.domainConnect.privateKeyKey "path" "domain-connect.pem")))) -}}
{{- end -}}
{{- if or $all (eq .role "worker") -}}
{{- range $id, $secret := $values.zoneSecrets -}}
{{- $sources = append $sources (dict "secret" (dict "name" $secret.existingSecret "items" (list (dict "key" $secret.key "path" (printf "zones/%s" $id))))) -}}
{{- end -}}
{{- end -}}
{{- if or $all (eq .role "nameserver") -}}
{{- range $name, $secret := $values.nameserver.transferSecrets -}}
{{- $sources = append $sources (dict "secret" (dict "name" $secret.existingSecret "items" (list (dict "key" $secret.key "path" (printf "transfers/%s" $name))))) -}}
{{- end -}}
{{- range $index, $secret := $values.nameserver.dnssecKeys -}}
{{- $sources = append $sources (dict "secret" (dict "name" $secret.existingSecret "items" (list (dict "key" $secret.key "path" (printf "dnssec/%d" $index))))) -}}
{{- end -}}
{{- end -}}
{{- if and $values.intake.tlsSecret (eq .role "intake") -}}
{{- $sources = append $sources (dict "secret" (dict "name" $values.intake.tlsSecret "items" (list (dict "key" "tls.crt" "path" "intake/tls.crt") (dict "key" "tls.key" "path" "intake/tls.key")))) -}}
{{- end -}}
{{- dict "sources" $sources | toJson -}}
{{- end -}}
