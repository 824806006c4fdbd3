{{/* Where a group's pods go: {root, role, group}. */}}
{{- define "wavescope.placement" -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" -}}
{{- with index $.group $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- if eq .role "worker" }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {app.kubernetes.io/instance: {{ .root.Release.Name }}, app.kubernetes.io/component: worker}
{{- end }}
{{- end -}}
