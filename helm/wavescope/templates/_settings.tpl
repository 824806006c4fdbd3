{{/* Settings of the service as environment of its processes: part of serveConfigV2, so that a change applies in place. */}}
{{- define "wavescope.settings" -}}
{{- $variables := dict "WAVESCOPE_LOG_LEVEL" (lower .Values.logLevel) -}}
{{- range $name, $value := .Values.settings -}}
{{- $_ := set $variables (printf "WAVESCOPE_%s" (upper $name)) (toString $value) -}}
{{- end -}}
{{- dict "env_vars" $variables | toJson -}}
{{- end -}}
