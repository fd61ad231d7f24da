{{- define "countersign.name" -}}
{{- $name := .Release.Name }}
{{- if not (contains .Chart.Name $name) }}
{{- $name = printf "%s-%s" $name .Chart.Name }}
{{- end }}
{{- $name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "countersign.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "countersign.labels" -}}
{{ include "countersign.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "countersign.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "countersign.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "countersign.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{/* Something if a certificate authority is mounted. */}}
{{- define "countersign.ca" -}}
{{- .Values.caBundle.configMap }}{{ .Values.caBundle.secret }}
{{- end }}

{{/* What the ingress and the route let through: for EPM, the chats and people. */}}
{{- define "countersign.paths" -}}
/webhooks/epm /api/x_bets_pmc_jit/authorization_request_webhook_handler /slack/interactions /slack/commands /slack/events /discord/interactions /healthz
{{- end }}

{{/* What a schema cannot say. */}}
{{- define "countersign.check" -}}
{{- if and (eq .Values.store "sqlite") (gt (int .Values.replicas) 1) }}
{{- fail "replicas: a SQLite file has one process. Set store to redis to have several" }}
{{- end }}
{{- if and (eq .Values.store "redis") (not .Values.secret.keys.STORE) }}
{{- fail "secret.keys.STORE: name the key of the Secret that holds the address of the Redis, such as redis://:PASSWORD@HOST:6379/0" }}
{{- end }}
{{- if and (eq .Values.store "sqlite") .Values.secret.keys.STORE }}
{{- fail "secret.keys.STORE: with store sqlite the file is in the volume; take the key out, or set store to redis" }}
{{- end }}
{{- if not .Values.secret.name }}
{{- fail "secret.name: name an existing Secret that holds the secrets, such as countersign" }}
{{- end }}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret }}
{{- fail "caBundle: name a config map or a Secret, not both" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs: name the Gateway that the route belongs to" }}
{{- end }}
{{- if and .Values.httpRoute.enabled .Values.tls.secretName }}
{{- fail "httpRoute: a Gateway ends TLS and speaks plain HTTP to the pod; take tls.secretName out" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.host: say by which name EPM reaches the bot" }}
{{- end }}
{{- end }}
