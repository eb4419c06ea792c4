{{/* The configuration file, and times read from it. */}}

{{/* Writes a value as TOML: strings of JSON are strings of TOML. */}}
{{- define "fanfare.tomlValue" -}}
{{- if kindIs "string" . -}}
{{- toJson . | replace "\u007f" "\\u007F" -}}
{{- else if kindIs "bool" . -}}
{{- . -}}
{{- else if kindIs "slice" . -}}
[{{ range $i, $item := . }}{{ if $i }}, {{ end }}{{ include "fanfare.tomlValue" $item }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{- range $i, $name := keys . | sortAlpha }}{{ if $i }},{{ end }} {{ $name }} = {{ include "fanfare.tomlValue" (get $ $name) }}{{ end }} }
{{- else if eq (float64 .) (int64 . | float64) -}}
{{- /* Numbers of a values file are floating: 1000000 would be 1e+06. */ -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end }}

{{- define "fanfare.toml" -}}
{{- range $name, $value := .Values.config }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value) (eq $name "channels")) }}
{{ $name }} = {{ include "fanfare.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $section, $settings := .Values.config }}
{{- if and (kindIs "map" $settings) $settings }}

[{{ $section }}]
{{- range $name, $value := $settings }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }} = {{ include "fanfare.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.config.channels }}

[[channels]]
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }} = {{ include "fanfare.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Reads a duration as Fanfare does: whole seconds, or a whole number with ms, s, m, h or d. Milliseconds. */}}
{{- define "fanfare.milliseconds" -}}
{{- $text := . | toString -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[a-z]*$" $text -}}
{{- mul $number (get (dict "ms" 1 "" 1000 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) $unit) -}}
{{- end }}

{{- define "fanfare.drainMilliseconds" -}}
{{- $drain := merge dict (.Values.config.drain | default dict) (dict "wait" "5s" "spread" "20s" "flush" "10s") -}}
{{- $sum := 0 -}}
{{- range tuple "wait" "spread" "flush" -}}
{{- $sum = add $sum (include "fanfare.milliseconds" (get $drain .) | int64) -}}
{{- end -}}
{{- $sum -}}
{{- end }}

{{/* Seconds that leaving takes at most, from the pod's deletion on. */}}
{{- define "fanfare.gracePeriodNeeded" -}}
{{- $drain := div (add (include "fanfare.drainMilliseconds" . | int64) 999) 1000 -}}
{{- add (include "fanfare.preStopSeconds" . | int64) $drain (int64 .Values.terminationGraceSlackSeconds) -}}
{{- end }}

{{- define "fanfare.preStopSeconds" -}}
{{- $sleep := dig "preStop" "sleep" "seconds" 0 (.Values.lifecycle | default dict) | int64 -}}
{{- max $sleep (int64 .Values.preStopSleepSeconds) -}}
{{- end }}

{{- define "fanfare.gracePeriod" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- include "fanfare.gracePeriodNeeded" . -}}
{{- else -}}
{{- int64 .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end }}

{{/* Most nodes that there can be. */}}
{{- define "fanfare.replicasMax" -}}
{{- if .Values.autoscaling.enabled -}}
{{- int64 .Values.autoscaling.maxReplicas -}}
{{- else if .Values.keda.enabled -}}
{{- int64 .Values.keda.maxReplicas -}}
{{- else -}}
{{- int64 .Values.replicaCount -}}
{{- end -}}
{{- end }}

{{/* Fewest nodes that there can be. */}}
{{- define "fanfare.replicasMin" -}}
{{- if .Values.autoscaling.enabled -}}
{{- int64 .Values.autoscaling.minReplicas -}}
{{- else if .Values.keda.enabled -}}
{{- int64 .Values.keda.minReplicas -}}
{{- else -}}
{{- int64 .Values.replicaCount -}}
{{- end -}}
{{- end }}
