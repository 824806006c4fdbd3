{{/* The Ray container: {root, role, group}. KubeRay fills in its command, /dev/shm and the probes not given here. */}}
{{- define "wavescope.container" -}}
{{- $values := .root.Values -}}
{{- $image := merge dict (.group.image | default dict) $values.image -}}
- name: ray-{{ .role }}
  image: {{ printf "%s:%s" $image.repository (default .root.Chart.AppVersion $image.tag) | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  securityContext:
    {{- toYaml $values.securityContext | nindent 4 }}
  env:
    {{- include "wavescope.env" .root | nindent 4 }}
  ports:
    {{- if eq .role "head" }}
    - {name: gcs-server, containerPort: 6379}
    - {name: dashboard, containerPort: 8265}
    {{- end }}
    - {name: metrics, containerPort: 8080}
    - {name: serve, containerPort: {{ $values.http.port }}}
    - {name: serve-grpc, containerPort: {{ $values.grpc.port }}}
  {{- if eq .role "worker" }}
  # KubeRay's own, but more patient: it takes a pod out after one answer over 2 s, which busy cores can cause.
  readinessProbe:
    exec:
      command:
        - bash
        - -c
        - >-
          wget --tries 1 -T 4 -q -O- http://localhost:52365/api/local_raylet_healthz | grep success &&
          wget --tries 1 -T 4 -q -O- http://localhost:{{ $values.http.port }}/-/healthz | grep success
    initialDelaySeconds: 10
    periodSeconds: 5
    timeoutSeconds: 10
    failureThreshold: 3
  {{- end }}
  {{- $resources := dict "cpu" .group.cpu "memory" .group.memory }}
  {{- if .group.gpu }}
  {{- $_ := set $resources $values.gpuResource .group.gpu }}
  {{- end }}
  resources:
    {{- dict "requests" $resources "limits" $resources | toYaml | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: cache, mountPath: /cache}
    # Whole folders, not subPath: files mounted so follow their ConfigMap and Secret.
    - {name: registry, mountPath: /etc/wavescope, readOnly: true}
    {{- if not $values.noAuth }}
    - {name: keys, mountPath: /etc/wavescope-keys, readOnly: true}
    {{- end }}
    {{- with $values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
