"""What the operator and its pods tell one another, a module a message. Each has the values of a message once, for the
side that writes it (`as_json`) and for the side that reads it (`parse_...`): one is the inverse of the other.

Pods of one release and the operator of another meet at every upgrade. So a field may be added, with what holds where
it is absent; none is renamed, taken away or given another meaning under the same number.
What a reader of an earlier release must not pass over goes under a number that it refuses.
"""

PROTOCOL = 1
PROGRESS_PORT = 9400  # where each of our pods that takes long answers GET /progress
