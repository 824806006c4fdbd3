{{/* One model as an application of Ray Serve: {root, model}. Ray Serve deploys it anew when any of this changes. */}}
{{- define "wavescope.modelApplication" -}}
- name: model-{{ .model.name }}
  route_prefix: null
  import_path: wavescope.serving.app:build_model
  runtime_env: {{ include "wavescope.settings" .root }}
  args:
    # The entry itself: the mounted file follows its ConfigMap up to a minute later.
    model: {{ toJson .model }}
    models_file: /etc/wavescope/models.yaml # that its paths are relative to
  deployments:
    - name: ModelReplica # replicas and resources come from the entry
{{- end -}}
