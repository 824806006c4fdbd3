{{/* The autoscaler that KubeRay adds to the head's pod; it inherits nothing from the Ray container. */}}
{{- define "wavescope.autoscaler" -}}
enableInTreeAutoscaling: {{ .Values.autoscaler.enabled }}
{{- if .Values.autoscaler.enabled }}
autoscalerOptions:
  idleTimeoutSeconds: {{ .Values.autoscaler.idleTimeoutSeconds }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  resources:
    {{- $resources := dict "cpu" .Values.autoscaler.cpu "memory" .Values.autoscaler.memory }}
    {{- dict "requests" $resources "limits" $resources | toYaml | nindent 4 }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  {{- if ne .Values.auth.mode "token" }} # with token, KubeRay sets it and the token itself
  env:
    - {name: RAY_AUTH_MODE, value: {{ .Values.auth.mode }}}
  {{- end }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end -}}
