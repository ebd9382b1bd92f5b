{{- define "headrace.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of an object. Argument: (dict "root" $ "component" NAME). */}}
{{- define "headrace.labels" -}}
{{ include "headrace.selector" . }}
app.kubernetes.io/part-of: headrace
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What finds a component's pods, the same over all versions. Argument: (dict "root" $ "component" NAME). */}}
{{- define "headrace.selector" -}}
app.kubernetes.io/name: headrace
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* An image reference. Argument: (dict "root" $ "name" NAME). */}}
{{- define "headrace.image" -}}
{{- $values := .root.Values -}}
{{- index $values.images .name | default (printf "%s/%s:%s" $values.image.registry .name ($values.image.tag | default .root.Chart.AppVersion)) -}}
{{- end -}}

{{- define "headrace.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "headrace.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "headrace.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where a component keeps its data. Argument: (dict "root" $ "component" NAME "persistence" VALUES). */}}
{{- define "headrace.dataVolume" -}}
{{- if .persistence.enabled -}}
persistentVolumeClaim:
  claimName: {{ .persistence.existingClaim | default (printf "%s-%s" (include "headrace.name" .root) .component) }}
{{- else -}}
emptyDir: {}
{{- end -}}
{{- end -}}

{{/* A claim for a component's data, which outlives the release. Argument as above. */}}
{{- define "headrace.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "headrace.name" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "headrace.labels" . | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  accessModes: [ReadWriteOnce]
  {{- with .persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .persistence.size }}
{{- end -}}

{{/* The value of a key in a Secret of the cluster, base64 as it is there, or else a new random one.
     Argument: (dict "root" $ "secret" NAME "key" KEY "length" N). */}}
{{- define "headrace.keptOrRandom" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .secret | default dict -}}
{{- get ($found.data | default dict) .key | default (randAlphaNum .length | b64enc) -}}
{{- end -}}

{{/* A text of the values for a container's env or command, where Kubernetes would expand $(NAME), Secrets' variables too. */}}
{{- define "headrace.asWritten" -}}
{{- . | toString | replace "$" "$$" | quote -}}
{{- end -}}

{{/* Labels as KEY=VALUE, comma-separated. */}}
{{- define "headrace.labelList" -}}
{{- $pairs := list -}}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end -}}
{{- join "," $pairs -}}
{{- end -}}

{{- define "headrace.mlflowUrl" -}}
{{- if .Values.mlflow.enabled -}}
http://{{ include "headrace.name" . }}-mlflow.{{ .Release.Namespace }}.svc:5000
{{- else -}}
{{ .Values.mlflow.url }}
{{- end -}}
{{- end -}}

{{/* The Secret with the operator's MLflow user; empty where there is none. */}}
{{- define "headrace.mlflowSecret" -}}
{{- if .Values.mlflow.existingSecret -}}
{{ .Values.mlflow.existingSecret }}
{{- else if .Values.mlflow.enabled -}}
{{ include "headrace.name" . }}-mlflow
{{- end -}}
{{- end -}}

{{- define "headrace.s3Endpoint" -}}
{{- if .Values.s3.enabled -}}
http://{{ include "headrace.name" . }}-s3.{{ .Release.Namespace }}.svc:7070
{{- else -}}
{{ .Values.s3.endpoint }}
{{- end -}}
{{- end -}}

{{/* The Secret with the built-in store's root user. */}}
{{- define "headrace.s3Secret" -}}
{{ .Values.s3.existingSecret | default (printf "%s-s3" (include "headrace.name" .)) }}
{{- end -}}

{{/* The Secret with which MLflow lists artifacts; empty: workload identity. */}}
{{- define "headrace.artifactsSecret" -}}
{{- if .Values.mlflow.artifactsSecret -}}
{{ .Values.mlflow.artifactsSecret }}
{{- else if .Values.s3.enabled -}}
{{ include "headrace.name" . }}-s3-viewer
{{- end -}}
{{- end -}}

{{/* What the operator's processes are told, but for credentials. */}}
{{- define "headrace.operatorEnv" -}}
- name: HEADRACE_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: HEADRACE_OPERATOR_NAMESPACE
  value: {{ .Release.Namespace }}
- name: HEADRACE_TRAINER_IMAGE
  value: {{ include "headrace.asWritten" (include "headrace.image" (dict "root" . "name" "trainer")) }}
{{- with .Values.trainer.gpuImage }}
- name: HEADRACE_TRAINER_GPU_IMAGE
  value: {{ include "headrace.asWritten" . }}
{{- end }}
- name: HEADRACE_SPARK_IMAGE
  value: {{ include "headrace.asWritten" (include "headrace.image" (dict "root" . "name" "spark")) }}
- name: HEADRACE_LOADER_IMAGE
  value: {{ include "headrace.asWritten" (include "headrace.image" (dict "root" . "name" "loader")) }}
- name: HEADRACE_EXPLAINER_IMAGE
  value: {{ include "headrace.asWritten" (include "headrace.image" (dict "root" . "name" "explainer")) }}
{{- if .Values.gateway.enabled }}
- name: HEADRACE_GATEWAY_METRICS_URL
  value: http://{{ include "headrace.name" . }}-gateway-metrics.{{ .Release.Namespace }}.svc:9100/metrics
{{- end }}
- name: HEADRACE_GATEWAY_THROTTLE
  value: {{ .Values.gateway.throttle }}
- name: HEADRACE_NETWORK_POLICIES
  value: {{ .Values.networkPolicy.enabled | quote }}
- name: HEADRACE_APPROVALS_ENFORCED
  value: {{ .Values.admission.enabled | quote }}
- name: HEADRACE_IMAGE_PULL_SECRETS
  value: {{ include "headrace.asWritten" (join "," .Values.image.pullSecrets) }}
{{- with .Values.trainer.packageIndex.url }}
- name: HEADRACE_PACKAGE_INDEX_URL
  value: {{ include "headrace.asWritten" . }}
{{- end }}
- name: HEADRACE_SERVING_POLICIES
  value: {{ ternary .Values.networkPolicy.serving.enabled .Values.gateway.enabled (kindIs "bool" .Values.networkPolicy.serving.enabled) | quote }}
- name: HEADRACE_MODEL_CLIENTS
  value: {{ include "headrace.asWritten" (include "headrace.labelList" .Values.networkPolicy.serving.namespaceLabels) }}
- name: HEADRACE_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy }}
- name: HEADRACE_S3_ENDPOINT
  value: {{ include "headrace.asWritten" (include "headrace.s3Endpoint" .) }}
- name: HEADRACE_S3_REGION
  value: {{ include "headrace.asWritten" .Values.s3.region }}
{{- with include "headrace.mlflowUrl" . }}
- name: HEADRACE_MLFLOW_URL
  value: {{ include "headrace.asWritten" . }}
- name: HEADRACE_MLFLOW_PUBLIC_URL
  value: {{ include "headrace.asWritten" $.Values.mlflow.publicUrl }}
{{- end }}
{{- end -}}

{{/* servingRuntimes as the operator reads them: with the images of the release's own servers. */}}
{{- define "headrace.servingRuntimes" -}}
{{- $root := . -}}
{{- $runtimes := dict -}}
{{- range $name, $entry := .Values.servingRuntimes -}}
{{- if $entry -}}
{{- if and (not $entry.image) (hasKey $root.Values.images $name) -}}
{{- $entry = merge (dict "image" (include "headrace.image" (dict "root" $root "name" $name))) $entry -}}
{{- end -}}
{{- $_ := set $runtimes $name $entry -}}
{{- end -}}
{{- end -}}
{{- toPrettyJson $runtimes -}}
{{- end -}}

{{/* The operator's rights to namespaced objects, each with the reason for it. */}}
{{- define "headrace.operatorRules" -}}
- apiGroups: [headrace.dev]
  resources: [trainingjobs, modelservices]
  verbs: [get, list, watch]
# The trainings of spec.schedule and the trials of spec.tuning are TrainingJobs that belong to another one; their spec is a part of that
# one's, whose author was looked at. ttlSecondsAfterFinished deletes.
- apiGroups: [headrace.dev]
  resources: [trainingjobs]
  verbs: [create, delete]
# An annotation that asks for another try is taken off when it is granted, and an approval that no policy has looked at. Trials are
# suspended with their job.
- apiGroups: [headrace.dev]
  resources: [trainingjobs, modelservices]
  verbs: [patch]
- apiGroups: [headrace.dev]
  resources: [trainingjobs/status, modelservices/status]
  verbs: [update]
# Where the cluster checks who may set owner references that block a deletion.
- apiGroups: [headrace.dev]
  resources: [trainingjobs/finalizers, modelservices/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# spec.schedule: Kubernetes' CronJob keeps the time, and the operator writes how its Jobs ended (spec.managedBy).
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, create, patch]
- apiGroups: [batch]
  resources: [jobs/status]
  verbs: [patch]
# The Job controller creates them; Headrace reads their records and takes its finalizer off.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# Scripts and the tenant's settings are read by name, pinned copies written by name. No list, no watch: a
# cluster's other ConfigMaps are none of the operator's business, and rights cannot be narrowed by label.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
# Who may reach a job's pods, and a service's.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, create, patch]
# A revision of a ModelService, and the route to it.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, create, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}

{{/* What the uninstall hook may do. */}}
{{- define "headrace.releaseRules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, patch]
{{- end -}}

{{/* Marks an object of the uninstall hook. Argument: its weight. */}}
{{- define "headrace.uninstallHook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* The hosts that MLflow answers to, with and without port: its Service's names, this pod for a port-forward, the browser's. */}}
{{- define "headrace.mlflowHosts" -}}
{{- $service := printf "%s-mlflow" (include "headrace.name" .) -}}
{{- $namespace := .Release.Namespace -}}
{{- $hosts := list -}}
{{- range list $service (printf "%s.%s" $service $namespace) (printf "%s.%s.svc" $service $namespace) (printf "%s.%s.svc.cluster.local" $service $namespace) "localhost" "127.0.0.1" -}}
{{- $hosts = concat $hosts (list . (printf "%s:*" .)) -}}
{{- end -}}
{{- with .Values.mlflow.publicUrl -}}
{{- $hosts = append $hosts (urlParse .).host -}}
{{- end -}}
{{- join "," ($hosts | uniq) -}}
{{- end -}}
