"""`scripts/quickstart`: from nothing to a trained, served, replaced and defended model, each phase with its seconds.

`__main__` is the order of the phases; `targets` is the cluster that they work on; `platform`, `training` and `serving`
are what happens there; `traffic` is the load; `report` is what a person sees. The operator never imports it.
"""
