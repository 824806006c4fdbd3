{{/*
Environment of every Ray container. RAY_AUTH_MODE: ray.init() and `ray start` have different defaults. Ray Serve's proxies
are no replicas: what they need to know stands here, not in serveConfigV2. FORWARDED_ALLOW_IPS: uvicorn believes no
X-Forwarded-For. RAY_worker_niceness: Ray's processes would run behind all others of the node. extraEnv may say otherwise.
*/}}
{{- define "wavescope.env" -}}
{{- $bodyBytes := .Values.settings.max_body_bytes | default 33554432 | int64 -}}
{{- $extra := dict -}}
{{- range .Values.extraEnv }}
{{- $_ := set $extra .name true }}
{{- end -}}
- {name: RAY_AUTH_MODE, value: {{ .Values.auth.mode }}}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
- {name: RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, value: wavescope.serving.proxy.middlewares}
- {name: RAY_SERVE_GRPC_MAX_MESSAGE_SIZE, value: {{ mul 8 $bodyBytes | quote }}}
{{- range $name, $value := dict "FORWARDED_ALLOW_IPS" "" "RAY_worker_niceness" "0" }}
{{- if not (hasKey $extra $name) }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
- {name: WAVESCOPE_MAX_BODY_BYTES, value: {{ $bodyBytes | quote }}}
{{- range $name := include "wavescope.proxySettings" . | fromJsonArray }}
{{- if hasKey $.Values.settings $name }}
- {name: WAVESCOPE_{{ upper $name }}, value: {{ include "wavescope.text" (get $.Values.settings $name) | quote }}}
{{- end }}
{{- end }}
- {name: XDG_CACHE_HOME, value: /cache}
- {name: MPLCONFIGDIR, value: /cache/matplotlib}
- {name: TORCH_HOME, value: /cache/torch}
{{- if .Values.noAuth }}
- {name: WAVESCOPE_NO_AUTH, value: "true"}
{{- else }}
- {name: WAVESCOPE_API_KEYS_FILE, value: {{ printf "/etc/wavescope-keys/%s" .Values.keysSecret.key | quote }}}
{{- end }}
- name: WAVESCOPE_STORE_URL
{{- if .Values.store.urlSecret.name }}
  valueFrom:
    secretKeyRef:
      {{- toYaml .Values.store.urlSecret | nindent 6 }}
{{- else }}
  value: {{ .Values.store.url | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
