{{/* KubeRay refuses RayService names over 47 characters: it appends its own suffixes. */}}
{{- define "wavescope.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 47 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 47 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 47 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
What selects this release's pods. Not app.kubernetes.io/name: the operator's head Service selects on its own value of it.
*/}}
{{- define "wavescope.selectorLabels" -}}
app.kubernetes.io/part-of: wavescope
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wavescope.labels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
{{ include "wavescope.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "wavescope.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "wavescope.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The registry file, in the format of `wavescope serve --models FILE`. */}}
{{- define "wavescope.registry" -}}
{{- dict "models" .Values.models | toYaml -}}
{{- end -}}
