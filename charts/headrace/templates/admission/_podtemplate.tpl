{{/* What no podTemplate may ask for and the CRD's rules do not see: they know the fields that the schema declares. */}}
{{- define "headrace.podTemplateVariables" -}}
- name: pod
  expression: object.spec.?podTemplate.?spec.orValue({})
- name: containers
  expression: variables.pod.?containers.orValue([]) + variables.pod.?initContainers.orValue([])
# The security settings of the pod and of each container, for the fields that both have.
- name: security
  expression: >-
    [variables.pod.?securityContext.orValue({})] +
    variables.containers.map(container, container.?securityContext.orValue({}))
{{- end -}}

{{/* Argument: an expression in front of each rule that lets pass what is not looked at, with its operator. */}}
{{- define "headrace.podTemplateRules" -}}
- expression: "{{ . }}!has(variables.pod.serviceAccount)"
  message: "spec.podTemplate.spec.serviceAccount: use spec.serviceAccountName"
- expression: "{{ . }}!has(variables.pod.ephemeralContainers)"
  message: "spec.podTemplate.spec.ephemeralContainers: a pod cannot start with ephemeral containers; use containers"
- expression: >-
    {{ . }}variables.security.all(settings, !settings.?windowsOptions.?hostProcess.orValue(false))
  message: "spec.podTemplate: hostProcess gives a container its node; it is refused"
- expression: >-
    {{ . }}variables.security.all(settings,
      settings.?seccompProfile.?type.orValue('') != 'Unconfined' &&
      settings.?appArmorProfile.?type.orValue('') != 'Unconfined')
  message: "spec.podTemplate: seccompProfile and appArmorProfile cannot be Unconfined; leave them out"
- expression: "{{ . }}!has(variables.pod.securityContext) || !has(variables.pod.securityContext.sysctls)"
  message: "spec.podTemplate.spec.securityContext.sysctls: kernel settings are the node's; they are refused"
{{- end -}}
