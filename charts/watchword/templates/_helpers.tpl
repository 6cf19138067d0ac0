{{/* The name of everything in a release: the release's own where it says "watchword", else with it. */}}
{{- define "watchword.name" -}}
{{- if contains "watchword" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-watchword" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a component: dict "root" $ "component" "gateway". */}}
{{- define "watchword.selector" -}}
app.kubernetes.io/name: watchword
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The labels of every object. */}}
{{- define "watchword.labels" -}}
{{ include "watchword.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: watchword
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* What a component is told, as a YAML map: the settings of all, its own, and what follows from its place. */}}
{{- define "watchword.settings" -}}
{{- $settings := merge (dict) (.values.settings | default dict) .root.Values.settings -}}
{{- if .values.exposed -}}
{{- $_ := set $settings "WATCHWORD_LISTEN" (printf "0.0.0.0:%v" .values.port) -}}
{{- with .values.httpPort -}}
{{- $_ := set $settings "WATCHWORD_HTTP" (printf "0.0.0.0:%v" .) -}}
{{- end -}}
{{- $_ := set $settings "WATCHWORD_TLS_CERTIFICATE" "/etc/watchword/tls/tls.crt" -}}
{{- $_ := set $settings "WATCHWORD_TLS_KEY" "/etc/watchword/tls/tls.key" -}}
{{- $_ := set $settings "WATCHWORD_TLS_CA" "/etc/watchword/tls/ca.crt" -}}
{{- else -}}
{{- $_ := set $settings "WATCHWORD_LISTEN" (printf "127.0.0.1:%v" .values.port) -}}
{{- end -}}
{{- if include "watchword.streams" . -}}
{{- $_ := set $settings "WATCHWORD_STREAMS" "/etc/watchword/streams/streams.toml" -}}
{{- end -}}
{{- if has .component (list "safety" "memory") -}}
{{- if .root.Values.policies -}}
{{- $_ := set $settings "WATCHWORD_POLICIES" "/etc/watchword/policies/policies.yaml" -}}
{{- end -}}
{{- with .root.Values.auditKey -}}
{{- if .secretName -}}
{{- $_ := set $settings "WATCHWORD_AUDIT_KEY" (printf "/etc/watchword/audit/%s" .key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .values.storage (not .root.Values.database.secretName) -}}
{{- $_ := set $settings "WATCHWORD_STORE" "/var/lib/watchword/scenes.db" -}}
{{- end -}}
{{- with .values.asks -}}
{{- $_ := set $settings "WATCHWORD_MEMORY" (printf "%s-%s:%v" (include "watchword.name" $.root) . (index $.root.Values.components .).port) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* What single streams are asked to be; only the transcriber is told. */}}
{{- define "watchword.streams" -}}
{{- if eq .component "transcriber" -}}
{{- .root.Values.streams -}}
{{- end -}}
{{- end -}}

{{/* Health is asked from inside: kubelet's own gRPC probe speaks plain text only, and some faces are on loopback. */}}
{{- define "watchword.health" -}}
exec:
  command: [watchword, health, "127.0.0.1:{{ .values.port }}"]
{{- end -}}
