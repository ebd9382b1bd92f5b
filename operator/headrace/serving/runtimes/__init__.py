"""The servers that a revision can run: the entries of the chart's `servingRuntimes`, and what is rendered of one.

A server is a row of data, whoever has written it. What all of them have (the loader, security settings, network
policies, drain, podTemplate) is `revision`'s, and no entry's.
"""
