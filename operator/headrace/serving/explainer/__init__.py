"""The explainer of a ModelService (spec.explain): pods, a Service and a route of their own beside the revisions'.

It is planned and applied after the service's own plan, from what that has decided, and apart from it: what is wrong
with an explainer is told by the condition ExplainerReady and by nothing else, and no object of a revision differs.
"""
