{{/* What is refused: every reason at once, each with what to do. */}}

{{- define "fanfare.validate" -}}
{{- $why := concat (include "fanfare.refusedDependencies" . | fromYamlArray) (include "fanfare.refusedConfig" . | fromYamlArray) (include "fanfare.refusedLife" . | fromYamlArray) (include "fanfare.refusedScaling" . | fromYamlArray) (include "fanfare.refusedExposure" . | fromYamlArray) -}}
{{- if $why -}}
{{- fail (printf "\n\nThese values can't work:\n- %s\n" (join "\n- " $why)) -}}
{{- end -}}
{{- end }}

{{- define "fanfare.refusedDependencies" -}}
{{- $v := .Values -}}
{{- $why := list -}}
{{- $replicas := include "fanfare.replicasMax" . | int64 -}}
{{- if not (include "fanfare.hasSecretKeyBase" .) -}}
{{- $why = append $why "there is no secret: set secretKeyBase.existingSecret (or secretKeyBase.value for development)" -}}
{{- end -}}
{{- if not (include "fanfare.hasDatabase" .) -}}
{{- $why = append $why "there is no database: set database.existingSecret (or database.url or devPostgres.enabled for development)" -}}
{{- end -}}
{{- if and (gt $replicas 1) (not (include "fanfare.hasRedis" .)) -}}
{{- $why = append $why (printf "%d nodes need Redis, or they don't hear each other: set redis.existingSecret (or redis.url or devRedis.enabled for development), or one replica" $replicas) -}}
{{- end -}}
{{- if and (gt $replicas 1) (include "fanfare.sqlite" .) -}}
{{- $why = append $why (printf "%d nodes can't share a SQLite database: use Postgres, or one replica" $replicas) -}}
{{- end -}}
{{- range $name, $inline := dict "secretKeyBase" $v.secretKeyBase.value "jwtSecret" $v.jwtSecret.value "redis" $v.redis.url "database" $v.database.url -}}
{{- if and $inline (get $v $name).existingSecret -}}
{{- $why = append $why (printf "%s has an existingSecret and a value of its own: remove one" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.devRedis.enabled (or $v.redis.existingSecret $v.redis.url) -}}
{{- $why = append $why "devRedis.enabled and another Redis are both given: remove one" -}}
{{- end -}}
{{- if and $v.devPostgres.enabled (or $v.database.existingSecret $v.database.url) -}}
{{- $why = append $why "devPostgres.enabled and another database are both given: remove one" -}}
{{- end -}}
{{- if and (eq $v.migrations.mode "hook") $v.devPostgres.enabled -}}
{{- $why = append $why "migrations.mode hook runs before devPostgres exists: use onStart or initContainer" -}}
{{- end -}}
{{- if and (eq $v.migrations.mode "hook") (include "fanfare.sqlite" .) -}}
{{- $why = append $why "migrations.mode hook can't reach a SQLite database: use onStart" -}}
{{- end -}}
{{- if and (include "fanfare.sqliteFile" .) (not (hasPrefix (printf "sqlite://%s/" $v.persistence.mountPath) $v.database.url)) -}}
{{- $why = append $why (printf "the SQLite file must be below persistence.mountPath, the only place that can be written: sqlite://%s/fanfare.db" $v.persistence.mountPath) -}}
{{- end -}}
{{- if and $v.persistence.enabled (not (include "fanfare.sqliteFile" .)) -}}
{{- $why = append $why "persistence.enabled is of use with a SQLite file only" -}}
{{- end -}}
{{- toYaml $why -}}
{{- end }}

{{- define "fanfare.refusedConfig" -}}
{{- $why := list -}}
{{- $instead := dict "listen" "listenAddress and containerPorts.client" "admin_listen" "listenAddress and containerPorts.admin" "redis_url" "redis" "database_url" "database" "secret_key_base" "secretKeyBase" "node_name" "FANFARE_NODE_NAME in extraEnv (it is the pod's name otherwise)" "migrate" "migrations.mode" -}}
{{- range $name, $_ := .Values.config -}}
{{- with get $instead $name -}}
{{- $why = append $why (printf "config.%s has another place: set %s" $name .) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (.Values.config.auth | default dict) "jwt_secret" -}}
{{- $why = append $why "config.auth.jwt_secret has another place, since a ConfigMap is no Secret: set jwtSecret" -}}
{{- end -}}
{{- $seen := dict -}}
{{- range .Values.extraEnv -}}
{{- if hasKey $seen .name -}}
{{- $why = append $why (printf "extraEnv has %s twice" .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- if hasPrefix "FANFARE_DRAIN__" .name -}}
{{- $why = append $why (printf "extraEnv has %s, which the grace period is computed from: set config.drain" .name) -}}
{{- end -}}
{{- end -}}
{{- if eq (int64 .Values.containerPorts.client) (int64 .Values.containerPorts.admin) -}}
{{- $why = append $why "containerPorts.client and containerPorts.admin must differ" -}}
{{- end -}}
{{- toYaml $why -}}
{{- end }}

{{- define "fanfare.refusedLife" -}}
{{- $v := .Values -}}
{{- $why := list -}}
{{- $given := include "fanfare.gracePeriod" . | int64 -}}
{{- $needed := include "fanfare.gracePeriodNeeded" . | int64 -}}
{{- if lt $given $needed -}}
{{- $why = append $why (printf "terminationGracePeriodSeconds is %d, but leaving may take %d s (preStop %s + config.drain.wait, spread and flush + terminationGraceSlackSeconds): raise it, or remove it to have it computed" $given $needed (include "fanfare.preStopSeconds" .)) -}}
{{- end -}}
{{- if and (gt (int64 $v.preStopSleepSeconds) 0) (not $v.lifecycle) (semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version) -}}
{{- $why = append $why (printf "preStopSleepSeconds needs Kubernetes 1.30, this is %s: raise config.drain.wait instead" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- with $v.podDisruptionBudget -}}
{{- if .enabled -}}
{{- $replicas := include "fanfare.replicasMin" $ | int64 -}}
{{- if kindIs "invalid" .minAvailable -}}
{{- if has (.maxUnavailable | toString) (list "0" "0%") -}}
{{- $why = append $why "podDisruptionBudget.maxUnavailable 0 lets no machine be drained" -}}
{{- end -}}
{{- else if hasSuffix "%" (.minAvailable | toString) -}}
{{- if ge (mul (trimSuffix "%" .minAvailable | int64) $replicas) (add (mul 100 (sub $replicas 1)) 1) -}}
{{- $why = append $why (printf "podDisruptionBudget.minAvailable %s of %d nodes lets no machine be drained: use maxUnavailable" .minAvailable $replicas) -}}
{{- end -}}
{{- else if ge (int64 .minAvailable) $replicas -}}
{{- $why = append $why (printf "podDisruptionBudget.minAvailable %d of %d nodes lets no machine be drained: use maxUnavailable" (int64 .minAvailable) $replicas) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $why -}}
{{- end }}

{{- define "fanfare.refusedScaling" -}}
{{- $v := .Values -}}
{{- $why := list -}}
{{- if and $v.autoscaling.enabled $v.keda.enabled -}}
{{- $why = append $why "autoscaling.enabled and keda.enabled would both set the number of nodes: choose one" -}}
{{- end -}}
{{- range tuple "autoscaling" "keda" -}}
{{- with get $v . -}}
{{- if and .enabled (gt (int64 .minReplicas) (int64 .maxReplicas)) -}}
{{- $why = append $why (printf "minReplicas %d is more than maxReplicas %d" (int64 .minReplicas) (int64 .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $v.autoscaling -}}
{{- if .enabled -}}
{{- if not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage .customMetrics) -}}
{{- $why = append $why "autoscaling has no metric: set targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or customMetrics" -}}
{{- end -}}
{{- $requests := dig "requests" dict ($v.resources | default dict) -}}
{{- if and .targetCPUUtilizationPercentage (not $requests.cpu) -}}
{{- $why = append $why "autoscaling.targetCPUUtilizationPercentage is in % of resources.requests.cpu: set it" -}}
{{- end -}}
{{- if and .targetMemoryUtilizationPercentage (not $requests.memory) -}}
{{- $why = append $why "autoscaling.targetMemoryUtilizationPercentage is in % of resources.requests.memory: set it" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.keda.enabled (not $v.keda.prometheusAddress) -}}
{{- $why = append $why "keda.enabled needs keda.prometheusAddress" -}}
{{- end -}}
{{- toYaml $why -}}
{{- end }}

{{- define "fanfare.refusedExposure" -}}
{{- $v := .Values -}}
{{- $why := list -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- $why = append $why "ingress.enabled needs ingress.hosts" -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- $why = append $why "httpRoute.enabled needs httpRoute.parentRefs" -}}
{{- end -}}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled -}}
{{- $why = append $why "metrics.serviceMonitor and metrics.podMonitor would scrape every node twice: choose one" -}}
{{- end -}}
{{- if $v.metrics.prometheusRule.enabled -}}
{{- $known := include "fanfare.alertNames" . | fromYamlArray -}}
{{- range $name, $_ := $v.metrics.prometheusRule.alerts -}}
{{- if not (has $name $known) -}}
{{- $why = append $why (printf "metrics.prometheusRule.alerts has no alert %s; there are %s" $name (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $why -}}
{{- end }}
