{{/* What a JSON schema cannot say: relations between values. */}}
{{- define "wavescope.validate" -}}
{{- include "wavescope.validateAccess" . -}}
{{- $names := list -}}
{{- $gpus := 0 -}}
{{- $cpus := 0 -}}
{{- $nodes := 0 -}}
{{- range $group, $worker := .Values.workers -}}
{{- if gt (int $worker.minReplicas) (int $worker.maxReplicas) -}}
{{- fail (printf "workers.%s: minReplicas %v is over maxReplicas %v" $group $worker.minReplicas $worker.maxReplicas) -}}
{{- end -}}
{{- $gpus = max $gpus (int ($worker.gpu | default 0)) -}}
{{- $cpus = max $cpus (int $worker.cpu) -}}
{{- $nodes = add $nodes $worker.maxReplicas -}}
{{- end -}}
{{- range $model := .Values.models -}}
{{- if has $model.name $names -}}
{{- fail (printf "models: the name %q is given twice" $model.name) -}}
{{- end -}}
{{- $names = append $names $model.name -}}
{{- $wanted := ternary 1 0 (regexMatch "^(cuda|tensorrt)" ($model.device | default "auto")) -}}
{{- if hasKey $model "num_gpus" }}{{ $wanted = $model.num_gpus }}{{ end -}}
{{- if gt (ceil (float64 $wanted)) (float64 $gpus) -}}
{{- fail (printf "models: %q wants %v GPUs, and no worker group has a gpu for it" $model.name $wanted) -}}
{{- end -}}
{{- $elsewhere := regexMatch "^(oip|kserve-v1):" $model.source -}}
{{- if and $elsewhere (not $.Values.settings.remote_hosts) -}}
{{- fail (printf "models: %q is served elsewhere, and settings.remote_hosts lists no host that may be asked" $model.name) -}}
{{- end -}}
{{- if gt (float64 ($model.num_cpus | default (ternary 0.1 2 $elsewhere))) (float64 $cpus) -}}
{{- fail (printf "models: %q wants num_cpus %v, and the largest worker has %v" $model.name $model.num_cpus $cpus) -}}
{{- end -}}
{{- if and (hasKey $model "max_replicas") (gt (int (dig "min_replicas" 1 $model)) (int $model.max_replicas)) -}}
{{- fail (printf "models: %q: min_replicas %v is over max_replicas" $model.name $model.min_replicas) -}}
{{- end -}}
{{- end -}}
{{- if gt (int .Values.gateway.replicas) (mul .Values.gateway.maxReplicasPerNode $nodes | int) -}}
{{- fail (printf "gateway.replicas %v cannot be placed: %v workers at most, maxReplicasPerNode %v" .Values.gateway.replicas $nodes .Values.gateway.maxReplicasPerNode) -}}
{{- end -}}
{{- end -}}
