{{- define "mtasts.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int .Values.pod.user }}
runAsGroup: {{ int .Values.pod.user }}
fsGroup: {{ int .Values.pod.user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* dict "ports" (those that the container listens on). */}}
{{- define "mtasts.containerSecurity" -}}
{{- $low := false -}}
{{- range $_, $port := .ports -}}{{- if lt (int $port) 1024 -}}{{- $low = true -}}{{- end -}}{{- end -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
  {{- if $low }}
  add: [NET_BIND_SERVICE]
  {{- end }}
{{- end -}}

{{/* What every container of ours mounts: dict "root" "role". */}}
{{- define "mtasts.mounts" -}}
- name: config
  mountPath: /etc/mtasts/config
  readOnly: true
- name: data
  mountPath: /var/lib/mtasts
{{- if (include "mtasts.secretSources" . | fromJson).sources }}
- name: secrets
  mountPath: {{ include "mtasts.secretsFolder" . }}
  readOnly: true
{{- end }}
{{- if .root.Values.trust.existingConfigMap }}
- name: trust
  mountPath: /etc/mtasts/trust
  readOnly: true
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* dict "root" "role" "configMap" "claimed" (whether `data` is a claim of the StatefulSet). */}}
{{- define "mtasts.volumes" -}}
- name: config
  configMap:
    name: {{ .configMap }}
{{- if not .claimed }}
- name: data
  emptyDir:
    sizeLimit: {{ dig "persistence" "size" "64Mi" (default dict (index .root.Values .role)) }}
{{- end }}
{{- with (include "mtasts.secretSources" . | fromJson).sources }}
- name: secrets
  projected:
    defaultMode: 0440
    sources: {{ toYaml . | nindent 6 }}
{{- end }}
{{- with .root.Values.trust }}
{{- if .existingConfigMap }}
- name: trust
  configMap:
    name: {{ .existingConfigMap }}
    items:
      - key: {{ .key }}
        path: ca.pem
{{- end }}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The pod of a role: dict "root" "role" "claimed". */}}
{{- define "mtasts.podTemplate" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $values := index $root.Values $role -}}
{{- $pod := include "mtasts.pod" . | fromJson -}}
{{- $ports := default dict $values.ports -}}
metadata:
  labels:
    {{- include "mtasts.labels" (dict "root" $root "component" $role) | nindent 4 }}
    {{- with $pod.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Another configuration is another pod.
    checksum/config: {{ include "mtasts.toml" $root | sha256sum }}
    {{- with $pod.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "mtasts.fullname" $root }}-{{ $role }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "mtasts.grace" (dict "root" $root "preStop" $values.preStopSeconds) }}
  securityContext: {{ include "mtasts.podSecurity" $root | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $pod.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $pod.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pod.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- if $pod.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: {{ $pod.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels: {{ include "mtasts.selector" (dict "root" $root "component" $role) | nindent 10 }}
      # So that the pods of an older version, which are about to go, do not count.
      matchLabelKeys: [{{ ternary "controller-revision-hash" "pod-template-hash" $.claimed }}]
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $role }}
      image: {{ include "mtasts.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ $role }}, --config, /etc/mtasts/config/mtasts.toml]
      env:
        {{- include "mtasts.env" . | nindent 8 }}
        {{- with $pod.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: admin
          containerPort: {{ int $root.Values.admin.port }}
        {{- range $name, $port := $ports }}
        - name: {{ $name }}
          containerPort: {{ int $port }}
          protocol: {{ ternary "UDP" "TCP" (eq $name "dns") }}
        {{- end }}
        {{- if hasKey $ports "dns" }}
        - name: dns-tcp
          containerPort: {{ int $ports.dns }}
          protocol: TCP
        {{- end }}
      # Alive is who answers: a database that is away must not get anybody killed.
      startupProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 2
        failureThreshold: 90
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      {{- if $values.preStopSeconds }}
      # It serves on, and stays ready, until nobody sends it anything: a balancer that has not noticed yet is served.
      lifecycle:
        preStop:
          sleep:
            seconds: {{ int $values.preStopSeconds }}
      {{- end }}
      securityContext: {{ include "mtasts.containerSecurity" (dict "ports" $ports) | nindent 8 }}
      resources: {{ toYaml $values.resources | nindent 8 }}
      volumeMounts: {{ include "mtasts.mounts" . | nindent 8 }}
  volumes: {{ include "mtasts.volumes" (dict "root" $root "role" $role "claimed" .claimed "configMap" (include "mtasts.fullname" $root)) | nindent 4 }}
{{- end -}}
