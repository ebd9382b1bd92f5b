"""A real one-node Kubernetes from upstream components, for CI and for machines with nothing else.

binaries  builds everything from one Go module, once a machine
controlplane  etcd and an API server, for tests that need no pods
instance  a whole cluster, in namespaces of its own
images  builds images straight into an instance
command  `headrace local ...`

The operator never imports this package.
"""
