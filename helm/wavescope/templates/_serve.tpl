{{/* Ray Serve's configuration: the application `wavescope` and one application per model. */}}
{{- define "wavescope.serveConfig" -}}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: {{ .Values.http.port }}
grpc_options:
  port: {{ .Values.grpc.port }}
  enable_reflection: {{ .Values.grpc.reflection }}
  grpc_servicer_functions:
    - wavescope.serving.proxy.add_explanation_service
    - wavescope.serving.proxy.add_inference_service
logging_config:
  encoding: JSON
  log_level: {{ .Values.logLevel }}
applications:
  - name: wavescope
    route_prefix: /
    import_path: wavescope.serving.app:build
    runtime_env: {{ include "wavescope.settings" . }}
    args:
      models_file: /etc/wavescope/models.yaml
    deployments:
      - name: Gateway
        num_replicas: {{ .Values.gateway.replicas }}
        max_replicas_per_node: {{ .Values.gateway.maxReplicasPerNode }}
        ray_actor_options:
          num_cpus: {{ .Values.gateway.numCpus }}
      - name: PerturbationGenerator
        num_replicas: {{ .Values.generator.replicas }}
        ray_actor_options:
          num_cpus: {{ .Values.generator.numCpus }}
      - name: EstimatorAggregator
        num_replicas: {{ .Values.aggregator.replicas }}
        ray_actor_options:
          num_cpus: {{ .Values.aggregator.numCpus }}
      - name: AdmissionDesk
        ray_actor_options:
          num_cpus: {{ .Values.admissionDesk.numCpus }} # not 0: that would let it land on the head
      - name: MetricsHub
        ray_actor_options:
          num_cpus: {{ .Values.metricsHub.numCpus }}
  {{- range .Values.models }}
  {{- include "wavescope.modelApplication" (dict "root" $ "model" .) | nindent 2 }}
  {{- end }}
{{- end -}}
