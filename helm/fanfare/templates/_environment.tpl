{{/* Secrets and the environment of the containers. A name never comes twice: server-side apply refuses that. */}}

{{- define "fanfare.secretName" -}}
{{ include "fanfare.fullname" . }}
{{- end }}

{{- define "fanfare.databaseUrl" -}}
{{- if .Values.devPostgres.enabled -}}
postgres://fanfare:{{ .Values.devPostgres.password | urlquery }}@{{ include "fanfare.fullname" . }}-dev-postgres:5432/fanfare
{{- else -}}
{{- .Values.database.url -}}
{{- end -}}
{{- end }}

{{- define "fanfare.redisUrl" -}}
{{- if .Values.devRedis.enabled -}}
redis://{{ include "fanfare.fullname" . }}-dev-redis:6379
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end }}

{{/* Says `true` for a SQLite database; one of an existing Secret is taken for Postgres. */}}
{{- define "fanfare.sqlite" -}}
{{- if and (not .Values.database.existingSecret) (hasPrefix "sqlite:" (include "fanfare.databaseUrl" .)) -}}
true
{{- end -}}
{{- end }}

{{- define "fanfare.sqliteFile" -}}
{{- if and (include "fanfare.sqlite" .) (ne .Values.database.url "sqlite::memory:") -}}
true
{{- end -}}
{{- end }}

{{/* Says `true` when extraEnv has the name. Takes a dict: root, name. */}}
{{- define "fanfare.inExtraEnv" -}}
{{- range .root.Values.extraEnv }}{{ if eq .name $.name }}true{{ end }}{{ end -}}
{{- end }}

{{- define "fanfare.hasRedis" -}}
{{- if or .Values.redis.existingSecret (include "fanfare.redisUrl" .) (include "fanfare.inExtraEnv" (dict "root" . "name" "FANFARE_REDIS_URL")) -}}
true
{{- end -}}
{{- end }}

{{- define "fanfare.hasDatabase" -}}
{{- if or .Values.database.existingSecret (include "fanfare.databaseUrl" .) (include "fanfare.inExtraEnv" (dict "root" . "name" "FANFARE_DATABASE_URL")) -}}
true
{{- end -}}
{{- end }}

{{- define "fanfare.hasSecretKeyBase" -}}
{{- if or .Values.secretKeyBase.existingSecret .Values.secretKeyBase.value (include "fanfare.inExtraEnv" (dict "root" . "name" "FANFARE_SECRET_KEY_BASE")) -}}
true
{{- end -}}
{{- end }}

{{/* The chart's own Secret: what was given inline, as YAML; empty when nothing was. */}}
{{- define "fanfare.inlineSecrets" -}}
{{- if and .Values.secretKeyBase.value (not .Values.secretKeyBase.existingSecret) }}
{{ .Values.secretKeyBase.existingSecretKey }}: {{ .Values.secretKeyBase.value | b64enc | quote }}
{{- end }}
{{- if and .Values.jwtSecret.value (not .Values.jwtSecret.existingSecret) }}
{{ .Values.jwtSecret.existingSecretKey }}: {{ .Values.jwtSecret.value | b64enc | quote }}
{{- end }}
{{- if and (include "fanfare.redisUrl" .) (not .Values.redis.existingSecret) }}
{{ .Values.redis.existingSecretKey }}: {{ include "fanfare.redisUrl" . | b64enc | quote }}
{{- end }}
{{- if and (include "fanfare.databaseUrl" .) (not .Values.database.existingSecret) }}
{{ .Values.database.existingSecretKey }}: {{ include "fanfare.databaseUrl" . | b64enc | quote }}
{{- end }}
{{- end }}

{{/* An entry of env from a Secret. Takes a dict: name, from (existingSecret, existingSecretKey), own. */}}
{{- define "fanfare.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .from.existingSecret | default .own }}
      key: {{ .from.existingSecretKey }}
{{- end }}

{{- define "fanfare.secretKeyBaseEnv" -}}
{{- if or .Values.secretKeyBase.existingSecret .Values.secretKeyBase.value }}
{{ include "fanfare.secretEnv" (dict "name" "FANFARE_SECRET_KEY_BASE" "from" .Values.secretKeyBase "own" (include "fanfare.secretName" .)) }}
{{- end }}
{{- if or .Values.jwtSecret.existingSecret .Values.jwtSecret.value }}
{{ include "fanfare.secretEnv" (dict "name" "FANFARE_AUTH__JWT_SECRET" "from" .Values.jwtSecret "own" (include "fanfare.secretName" .)) }}
{{- end }}
{{- end }}

{{/* What the chart itself gives a node. */}}
{{- define "fanfare.ownEnv" -}}
- name: FANFARE_CONFIG
  value: /etc/fanfare/fanfare.toml
- name: FANFARE_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: FANFARE_LISTEN
  value: {{ include "fanfare.address" (dict "root" . "port" .Values.containerPorts.client) | quote }}
- name: FANFARE_ADMIN_LISTEN
  value: {{ include "fanfare.address" (dict "root" . "port" .Values.containerPorts.admin) | quote }}
{{- if ne .Values.migrations.mode "onStart" }}
- name: FANFARE_MIGRATE
  value: "false"
{{- end }}
{{- include "fanfare.secretKeyBaseEnv" . }}
{{- if or .Values.redis.existingSecret (include "fanfare.redisUrl" .) }}
{{ include "fanfare.secretEnv" (dict "name" "FANFARE_REDIS_URL" "from" .Values.redis "own" (include "fanfare.secretName" .)) }}
{{- end }}
{{- if or .Values.database.existingSecret (include "fanfare.databaseUrl" .) }}
{{ include "fanfare.secretEnv" (dict "name" "FANFARE_DATABASE_URL" "from" .Values.database "own" (include "fanfare.secretName" .)) }}
{{- end }}
{{- end }}

{{- define "fanfare.address" -}}
{{- $host := .root.Values.listenAddress -}}
{{- if contains ":" $host }}[{{ $host }}]{{ else }}{{ $host }}{{ end }}:{{ int64 .port }}
{{- end }}

{{/* Puts entries of extraEnv behind those of the chart that they don't replace, in their order. Takes a dict: own, extra. */}}
{{- define "fanfare.mergedEnv" -}}
{{- $replaced := list -}}
{{- range .extra -}}{{- $replaced = append $replaced .name -}}{{- end -}}
{{- $env := list -}}
{{- range .own -}}
{{- if not (has .name $replaced) -}}{{- $env = append $env . -}}{{- end -}}
{{- end -}}
{{- toYaml (concat $env .extra) -}}
{{- end }}

{{- define "fanfare.env" -}}
{{- include "fanfare.mergedEnv" (dict "own" (include "fanfare.ownEnv" . | fromYamlArray) "extra" .Values.extraEnv) -}}
{{- end }}

{{/* What every command needs that is no node: the image's listeners would ask it for a secret. */}}
{{- define "fanfare.commandEnv" -}}
- name: FANFARE_CONFIG
  value: /etc/fanfare/fanfare.toml
- name: FANFARE_LISTEN
  value: 127.0.0.1:4000
- name: FANFARE_ADMIN_LISTEN
  value: 127.0.0.1:4001
{{- end }}

{{/* What `fanfare migrate` needs, by the migrations' own login when there is one. Takes a dict: root, own. */}}
{{- define "fanfare.migrateEnv" -}}
{{- $values := .root.Values -}}
{{- $from := $values.database -}}
{{- /* What would keep `migrate` from its job, or ask it for more than a database. */ -}}
{{- $without := list "FANFARE_MIGRATE" "FANFARE_LISTEN" "FANFARE_ADMIN_LISTEN" "FANFARE_REDIS_URL" -}}
{{- if $values.migrations.database.existingSecret -}}
{{- $from = $values.migrations.database -}}
{{- $without = append $without "FANFARE_DATABASE_URL" -}}
{{- end -}}
{{- $own := include "fanfare.commandEnv" . | fromYamlArray -}}
{{- if or $from.existingSecret (include "fanfare.databaseUrl" .root) -}}
{{- $own = concat $own (include "fanfare.secretEnv" (dict "name" "FANFARE_DATABASE_URL" "from" $from "own" .own) | fromYamlArray) -}}
{{- end -}}
{{- $extra := list -}}
{{- range $values.extraEnv -}}
{{- if not (has .name $without) -}}{{- $extra = append $extra . -}}{{- end -}}
{{- end -}}
{{- include "fanfare.mergedEnv" (dict "own" $own "extra" $extra) -}}
{{- end }}

{{/* What `fanfare probe` needs to sign a token: the configuration and the secrets of tokens. */}}
{{- define "fanfare.probeEnv" -}}
{{- $own := concat (include "fanfare.commandEnv" . | fromYamlArray) (include "fanfare.secretKeyBaseEnv" . | fromYamlArray) -}}
{{- $extra := list -}}
{{- range .Values.extraEnv -}}
{{- if or (has .name (list "FANFARE_CONFIG" "FANFARE_SECRET_KEY_BASE")) (hasPrefix "FANFARE_AUTH__" .name) -}}{{- $extra = append $extra . -}}{{- end -}}
{{- end -}}
{{- include "fanfare.mergedEnv" (dict "own" $own "extra" $extra) -}}
{{- end }}
