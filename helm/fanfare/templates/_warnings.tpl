{{/* What is allowed but should be known: shown in NOTES.txt. */}}

{{- define "fanfare.warnings" -}}
{{- $v := .Values -}}
{{- $auth := $v.config.auth | default dict -}}
{{- $transport := $v.config.transport | default dict -}}
{{- $limits := $v.config.limits | default dict -}}
{{- $all := list
  (list $v.devRedis.enabled "devRedis is for development: no password, and a restart of its pod interrupts the nodes")
  (list $v.devPostgres.enabled "devPostgres is for development: every record ends with its pod")
  (list (and (include "fanfare.sqliteFile" .) (not $v.persistence.enabled)) "the SQLite database is not kept: set persistence.enabled, or every record ends with the pod")
  (list (eq $v.database.url "sqlite::memory:") "the database is in memory: every record ends with the process")
  (list (include "fanfare.inlineSecrets" .) "secrets are given as values, which stay in the release: use an existingSecret in production")
  (list (eq (include "fanfare.replicasMin" .) "1") "there may be one node only: each rollout and each lost machine disconnects every client")
  (list (not $v.podDisruptionBudget.enabled) "there is no PodDisruptionBudget: a drained machine may take several nodes at once")
  (list (eq ($v.config.anonymous | default "deny") "allow") "config.anonymous is allow: everybody may connect without a token")
  (list (eq (toString $transport.origins | trimAll "[]") "off") "config.transport.origins is off: every web page may connect")
  (list (and (not (int64 ($limits.connections | default 0))) (dig "limits" "memory" "" ($v.resources | default dict))) "config.limits.connections is 0: connections may outgrow resources.limits.memory")
  (list (and (not (int64 ($v.config.workers | default 0))) (not (dig "limits" "cpu" "" ($v.resources | default dict)))) "config.workers is not set and there is no CPU limit: a node starts one worker for each core of its machine")
  (list (not (dig "limits" "memory" "" ($v.resources | default dict))) "there is no memory limit")
  (list (and (or $v.ingress.enabled $v.httpRoute.enabled) (not $transport.trusted_proxies)) "config.transport.trusted_proxies is empty: every client seems to come from the proxy's address")
  (list (and $v.ingress.enabled (not $v.ingress.tls)) "ingress.tls is empty: tokens may travel in clear text")
  (list (and (eq $v.service.type "LoadBalancer") (not $v.ingress.enabled)) "a LoadBalancer without TLS of its own carries tokens in clear text")
  (list (not $v.networkPolicy.enabled) "there is no NetworkPolicy: every pod may use the operators' port, which asks for no token")
  (list (and $v.keda.enabled (le (int64 ($limits.connections | default 0)) (int64 $v.keda.connectionsPerPod)) (int64 ($limits.connections | default 0))) "keda.connectionsPerPod is not below config.limits.connections: nodes refuse clients before another one is started")
  (list (has ((get ($v.config.store | default dict) "synchronous_commit") | default "on") (list "off" "local" "remote_write")) "config.store.synchronous_commit is weaker than on: a crash may lose the newest records")
-}}
{{- $said := list -}}
{{- range $all -}}
{{- if index . 0 -}}{{- $said = append $said (index . 1) -}}{{- end -}}
{{- end -}}
{{- toYaml $said -}}
{{- end }}
