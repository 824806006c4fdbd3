{{/* Settings of the service as environment of its processes: part of serveConfigV2, so that a change applies in place. */}}
{{- define "wavescope.settings" -}}
{{- $variables := dict "WAVESCOPE_LOG_LEVEL" (lower .Values.logLevel) -}}
{{- range $name, $value := omit .Values.settings "max_body_bytes" -}}
{{- $text := kindIs "slice" $value | ternary (join "," $value) (toJson $value) -}}{{/* JSON writes 1000000 in full */}}
{{- $_ := set $variables (printf "WAVESCOPE_%s" (upper $name)) $text -}}
{{- end -}}
{{- dict "env_vars" $variables | toJson -}}
{{- end -}}
