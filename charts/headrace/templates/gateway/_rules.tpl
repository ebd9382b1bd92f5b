{{/* The gateway's rights to namespaced objects. */}}
{{- define "headrace.gatewayRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, httproutes, grpcroutes, tlsroutes, referencegrants, backendtlspolicies]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways/status, httproutes/status, grpcroutes/status, tlsroutes/status, backendtlspolicies/status]
  verbs: [update, patch]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
# Traefik does not start without (it looks for TLS certificates, also where no listener names one). Where that is too much:
# watchNamespaces, or a gateway of your own.
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch]
{{- end -}}

{{/* Where the gateway looks, comma-separated, if not everywhere. */}}
{{- define "headrace.gatewayNamespaces" -}}
{{- join "," (concat (list .Release.Namespace) .Values.watchNamespaces | uniq) -}}
{{- end -}}
