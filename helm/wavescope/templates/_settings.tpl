{{/* Settings of the service as environment of its processes: part of serveConfigV2, so that a change applies in place. */}}
{{- define "wavescope.settings" -}}
{{- $variables := dict "WAVESCOPE_LOG_LEVEL" (lower .Values.logLevel) -}}
{{- if .Values.autoscaler.enabled -}}
{{- $_ := set $variables "WAVESCOPE_AUTOSCALER_TIMEOUT_S" (toJson .Values.autoscaler.placeTimeoutSeconds) -}}
{{- end -}}
{{- $proxies := include "wavescope.proxySettings" . | fromJsonArray -}}
{{- range $name, $value := .Values.settings -}}
{{- if and (ne $name "max_body_bytes") (not (has $name $proxies)) -}}
{{- $_ := set $variables (printf "WAVESCOPE_%s" (upper $name)) (include "wavescope.text" $value) -}}
{{- end -}}
{{- end -}}
{{- dict "env_vars" $variables | toJson -}}
{{- end -}}
{{/* Those that Ray Serve's proxies read as well, which are no replicas: environment of every container. */}}
{{- define "wavescope.proxySettings" -}}
{{- list "root_path" "allowed_origins" "metrics_need_key" "max_connections" "max_header_bytes" "header_timeout_s" "body_timeout_s" "max_uploads" "max_uploads_per_caller" "max_upload_bytes" "reply_timeout_s" | toJson -}}
{{- end -}}
{{/* The value of a setting as text; JSON writes 1000000 in full. */}}
{{- define "wavescope.text" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if kindIs "string" . -}}
{{- . -}}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}
