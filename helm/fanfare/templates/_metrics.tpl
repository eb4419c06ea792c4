{{/* What monitors have in common, and the rules of files/rules with the changes of the values. */}}

{{- define "fanfare.monitored" -}}
# The job is the value of the label, fanfare, whatever the names are: rules and dashboards look for it.
jobLabel: app.kubernetes.io/part-of
namespaceSelector:
  matchNames:
    - {{ .Release.Namespace }}
{{- end }}

{{- define "fanfare.endpoint" -}}
port: admin
path: /metrics
{{- range $name := tuple "interval" "scrapeTimeout" }}
{{- with get $ $name }}
{{ $name }}: {{ . }}
{{- end }}
{{- end }}
{{- range $name := tuple "relabelings" "metricRelabelings" }}
{{- with get $ $name }}
{{ $name }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Every group of files/rules, as an array. */}}
{{- define "fanfare.ruleGroups" -}}
{{- $groups := list -}}
{{- range $path, $_ := .Files.Glob "files/rules/*.yml" -}}
{{- $groups = concat $groups ($.Files.Get $path | fromYaml).groups -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end }}

{{- define "fanfare.alertNames" -}}
{{- $names := list -}}
{{- range include "fanfare.ruleGroups" . | fromYamlArray -}}
{{- range .rules -}}
{{- with .alert }}{{ $names = append $names . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $names -}}
{{- end }}

{{/* Replaces the numbers that an expression compares with, in their order. Takes a dict: expr, thresholds, alert. */}}
{{- define "fanfare.withThresholds" -}}
{{- $comparison := "(?:[<>]=?|==|!=)(?:\\s+bool)?\\s*[0-9]+(?:[.][0-9]+)?(?:e[-+]?[0-9]+)?" -}}
{{- $found := regexFindAll $comparison .expr -1 -}}
{{- $given := .thresholds -}}
{{- if ne (len $found) (len $given) -}}
{{- fail (printf "\n\nThese values can't work:\n- metrics.prometheusRule.alerts.%s.thresholds must have %d numbers, in the order of: %s\n" .alert (len $found) (join ", " $found)) -}}
{{- end -}}
{{- $rest := .expr -}}
{{- range $i, $old := $found -}}
{{- $parts := splitn $old 2 $rest -}}
{{- $parts._0 -}}{{- regexReplaceAll "[0-9].*$" $old (include "fanfare.tomlValue" (index $given $i)) -}}
{{- $rest = $parts._1 -}}
{{- end -}}
{{- $rest -}}
{{- end }}

{{/* An alert with the changes that the values make. Takes a dict: root, rule. */}}
{{- define "fanfare.alert" -}}
{{- $rule := deepCopy .rule -}}
{{- $values := .root.Values.metrics.prometheusRule -}}
{{- $change := get $values.alerts $rule.alert | default dict -}}
{{- if $change.expr -}}{{- $_ := set $rule "expr" $change.expr -}}{{- end -}}
{{- if $change.thresholds -}}
{{- $_ := set $rule "expr" (include "fanfare.withThresholds" (dict "expr" $rule.expr "thresholds" $change.thresholds "alert" $rule.alert)) -}}
{{- end -}}
{{- if $change.for -}}{{- $_ := set $rule "for" $change.for -}}{{- end -}}
{{- $severity := dict -}}
{{- if $change.severity -}}{{- $severity = dict "severity" $change.severity -}}{{- end -}}
{{- $runbook := dict -}}
{{- if $values.runbookUrl -}}
{{- $runbook = dict "runbook_url" (printf "%s#%s" $values.runbookUrl ($rule.alert | lower)) -}}
{{- end -}}
{{- with merge dict $severity ($change.labels | default dict) $values.alertLabels ($rule.labels | default dict) -}}
{{- $_ := set $rule "labels" . -}}
{{- end -}}
{{- with merge dict ($change.annotations | default dict) $runbook ($rule.annotations | default dict) -}}
{{- $_ := set $rule "annotations" . -}}
{{- end -}}
{{- toYaml $rule -}}
{{- end }}
