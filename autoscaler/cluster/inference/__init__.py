"""InferenceServices of a cluster: looked at, computed by `autoscaler.inference`, written. Only the leader writes.

`controller` is the way in.
"""
