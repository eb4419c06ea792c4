{{/* Parts of pods that run the program: image, security, volumes, spread. */}}

{{- define "fanfare.program" -}}
image: {{ include "fanfare.image" (dict "root" . "image" .Values.image "tag" .Chart.AppVersion) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The container that migrates. Takes a dict: root, own (the name of the chart's Secret at that time). */}}
{{- define "fanfare.migrateContainer" -}}
{{ include "fanfare.program" .root }}
args: [migrate]
env:
  {{- include "fanfare.migrateEnv" . | nindent 2 }}
{{- with .root.Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.migrations.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "fanfare.volumeMounts" (dict "root" .root "database" true) | nindent 2 }}
{{- end }}

{{/* Takes a dict: root, database (whether the pod opens it). */}}
{{- define "fanfare.volumeMounts" -}}
- name: config
  mountPath: /etc/fanfare
  readOnly: true
{{- if and .database (include "fanfare.sqliteFile" .root) }}
- name: database
  mountPath: {{ .root.Values.persistence.mountPath }}
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes a dict: root, configMap, database (whether the pod opens it). */}}
{{- define "fanfare.volumes" -}}
- name: config
  configMap:
    name: {{ .configMap }}
{{- if and .database (include "fanfare.sqliteFile" .root) }}
- name: database
  {{- if .root.Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ .root.Values.persistence.existingClaim | default (include "fanfare.fullname" .root) }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ tpl (toYaml .) $.root }}
{{- end }}
{{- end }}

{{- define "fanfare.topologySpread" -}}
{{- if .Values.topologySpreadConstraints }}
{{ tpl (toYaml .Values.topologySpreadConstraints) . }}
{{- else if .Values.topologySpread.enabled }}
{{- range $key := tuple "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: {{ $.Values.topologySpread.whenUnsatisfiable }}
  labelSelector:
    matchLabels:
      {{- include "fanfare.selectorLabels" (dict "root" $ "component" "gateway") | nindent 6 }}
  # Pods of the old revision don't count during a rollout.
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end }}
