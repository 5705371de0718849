"""The autoscaler in a Kubernetes cluster: who of several writes, how a count is set there, and what is told about it.

`election` is the core of the leader's election and `lease` its edge; `scaler` reads and sets the replicas of one object;
`events` tells of it where `kubectl describe` shows it. Imported only when a target needs it.
"""
