"""Where the samples of metrics come from that no gateway knows: the pods' own pages, a Prometheus, the use of cpu and memory.

`signals` keeps what runs equal to what the configuration asks for, and tells a Sink. `scraper`, `prometheus`, `processes` and
`metricsapi` are edges, all in the rhythm of `rhythm`; what they bring is read and summed up by cores: `exposition` and `rounds`, `answers`, `usage` and
`quantities`. `asked` holds the words that they share. A sample is never made up: what could not be had is told as a failure, with its reason.
"""
