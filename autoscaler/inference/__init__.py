"""KServe's InferenceService on plain Deployments: what of it is wanted, computed from what is observed.

All of it is core: told the objects, the settings and the time; `runtimes.shipped` alone reads files, those of this package.
`wanted.wanted` is the way in. Watching, writing and telling are `autoscaler.cluster.inference`'s.
"""
