{{/* What spec.tuning and spec.parameters are to one another: a schema's rules do not see into free-form parameters. */}}
{{- define "headrace.tuningVariables" -}}
- name: given
  expression: dyn(object.spec).?parameters.orValue({})
- name: space
  expression: "request.operation == 'CREATE' ? dyn(object.spec).?tuning.?space.orValue([]) : []"
# Tuned parameters whose starting value no trial can have: out of bounds, between two steps, none of the values. What
# decimals lose in binary is let pass, as headrace_common.protocol.tuning does.
- name: misplaced
  expression: >-
    variables.space.filter(one, one.name in variables.given && ![variables.given[one.name]].all(value,
    one.type == 'Categorical'
    ? type(value) == string && value in one.values
    : (type(value) == int || type(value) == double)
    && double(value) >= double(one.min) && double(value) <= double(one.max)
    && (!(has(one.step) || one.type == 'Int') || [double(has(one.step) ? one.step : '1')].all(step,
    [double(value) - double(one.min)].all(above, above / step > 1e15
    || [above - double(int(above / step + 0.5)) * step].all(off,
    off * off <= 1e-16 * step * step + 1e-22 * double(value) * double(value)))))))
    .map(one, one.name)
{{- end -}}

{{- define "headrace.tuningRules" -}}
- expression: >-
    variables.space.size() == 0 ||
    variables.given.size() + variables.space.filter(one, !(one.name in variables.given)).size() <= 64
  message: >-
    spec.parameters and spec.tuning.space have more than 64 parameters together, which a trial cannot have: take some
    out of one of them
- expression: variables.misplaced.size() == 0
  messageExpression: >-
    'the first trial cannot begin with spec.parameters.' + variables.misplaced[0] + ': a starting value lies from min
    to max, on a step, or is one of values; correct it, or leave it out of spec.parameters'
- expression: >-
    variables.space.size() == 0 || object.spec.tuning.sampler != 'Grid' ||
    !variables.space.exists(one, one.name in variables.given)
  messageExpression: >-
    'a grid begins with its first combination, not with spec.parameters: leave ' +
    variables.space.filter(one, one.name in variables.given)[0].name + ' out of spec.parameters or of
    spec.tuning.space'
{{- end -}}
