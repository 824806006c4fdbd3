{{/* Pod template of the head and of every worker group: {root, role, group}. The container is in _container.tpl. */}}
{{- define "wavescope.podTemplate" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "wavescope.selectorLabels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "wavescope.serviceAccountName" .root }}
  automountServiceAccountToken: {{ eq .role "head" }} # the autoscaler beside the head talks to the API server
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  terminationGracePeriodSeconds: 60
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  # A Service called wavescope would otherwise put WAVESCOPE_PORT=tcp://… into the environment.
  enableServiceLinks: false
  {{- with include "wavescope.placement" . }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    {{- include "wavescope.container" . | nindent 4 }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: {{ $values.tmpSizeLimit }}
    - name: cache
      emptyDir:
        sizeLimit: {{ $values.cacheSizeLimit }}
    - name: registry
      configMap:
        name: {{ include "wavescope.fullname" .root }}
    {{- if not $values.noAuth }}
    - name: keys
      secret:
        secretName: {{ $values.keysSecret.name }}
        defaultMode: 0440
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
