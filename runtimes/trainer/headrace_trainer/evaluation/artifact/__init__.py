"""The exported model, run as its server runs it: by its own signature, in batches. It is never changed."""
