{{/* Who may call, and where jobs are: said outright, for no default would be right. */}}
{{- define "wavescope.validateAccess" -}}
{{- $keys := .Values.keysSecret.name -}}
{{- $store := .Values.store -}}
{{- if and (not $keys) (not .Values.noAuth) -}}
{{- fail "who may call? Name a Secret with API keys in keysSecret.name (`wavescope keys new NAME` makes one), or set noAuth: true to serve whoever reaches the service" -}}
{{- end -}}
{{- if and $keys .Values.noAuth -}}
{{- fail "keysSecret.name and noAuth: true contradict each other: keep one" -}}
{{- end -}}
{{- if and (not $store.url) (not $store.urlSecret.name) -}}
{{- fail "where are jobs kept? Gateways on different nodes need one Redis: name a Secret with its URL in store.urlSecret.name, or set store.url: redis://host:6379/1" -}}
{{- end -}}
{{- if and $store.url $store.urlSecret.name -}}
{{- fail "store.url and store.urlSecret.name contradict each other: keep one" -}}
{{- end -}}
{{- if and .Values.settings.metrics_need_key .Values.monitoring.enabled (not .Values.monitoring.keySecret.name) -}}
{{- fail "settings.metrics_need_key: Prometheus needs a key too, in monitoring.keySecret.name" -}}
{{- end -}}
{{- if and .Values.settings.metrics_need_key .Values.noAuth -}}
{{- fail "settings.metrics_need_key and noAuth: true contradict each other: there are no keys" -}}
{{- end -}}
{{- end -}}
