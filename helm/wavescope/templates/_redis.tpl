{{/* Ray's control plane in Redis: a restarted head picks up where it was. */}}
{{- define "wavescope.gcsFaultTolerance" -}}
{{- with .Values.redis -}}
{{- if .address -}}
gcsFaultToleranceOptions:
  redisAddress: {{ .address | quote }}
  {{- with .username }}
  redisUsername:
    value: {{ . | quote }}
  {{- end }}
  {{- if .passwordSecret.name }}
  redisPassword:
    valueFrom:
      secretKeyRef:
        {{- toYaml .passwordSecret | nindent 8 }}
  {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}
