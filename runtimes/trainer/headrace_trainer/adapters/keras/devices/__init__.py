"""Where a script trains: on GPUs, on several devices of a pod, as one of several workers."""
