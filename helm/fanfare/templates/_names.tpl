{{/* Names, labels and images. Selector labels never change: a Deployment's can't be changed. */}}

{{- define "fanfare.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* At most 50 characters, so that every suffix of an object's name fits in 63. */}}
{{- define "fanfare.fullname" -}}
{{- $name := include "fanfare.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Takes a dict: root, component. */}}
{{- define "fanfare.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fanfare.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Takes a dict: root, component, and labels of the object, which lose against those of the chart. */}}
{{- define "fanfare.labels" -}}
{{- $root := .root -}}
{{- $own := include "fanfare.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "fanfare" -}}
{{- $_ := set $own "app.kubernetes.io/version" ($root.Chart.AppVersion | toString) -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own (.labels | default dict) $root.Values.commonLabels) -}}
{{- end }}

{{/* Labels of pods. The chart's version is not among them: another one alone must not move every client. Takes a dict: root, component. */}}
{{- define "fanfare.podLabels" -}}
{{- $own := include "fanfare.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "fanfare" -}}
{{- toYaml (merge $own .root.Values.podLabels .root.Values.commonLabels) -}}
{{- end }}

{{/* Takes a dict: root, annotations. Prints the annotations of an object with their key, or nothing. */}}
{{- define "fanfare.annotations" -}}
{{- with merge dict (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- range $name, $value := . }}
  {{ $name }}: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Takes a dict: root, component, and optionally name, namespace, labels, annotations. */}}
{{- define "fanfare.metadata" -}}
name: {{ .name | default (include "fanfare.fullname" .root) }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "fanfare.labels" . | nindent 2 }}
{{- with include "fanfare.annotations" . }}
{{- . }}
{{- end }}
{{- end }}

{{- define "fanfare.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fanfare.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* Takes a dict: root, image (registry, repository, tag, digest), tag to use when it has none. */}}
{{- define "fanfare.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .tag }}{{ end -}}
{{- end }}

{{/* Prints the pull secrets with their key, or nothing. */}}
{{- define "fanfare.pullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ if kindIs "map" . }}{{ .name }}{{ else }}{{ . }}{{ end }}
  {{- end }}
{{- end }}
{{- end }}
