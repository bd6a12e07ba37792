"""Ends recorders and exporters at random under two Prometheus servers, and compares their counts with what happened.

A lane is an address at which pods come and go; a pod is a recorder and its exporter on directories of its own, and lives for some
rounds. In each round the recorder starts, records three streams, and ends in one of the ways of `endings`, while the exporter takes
one of the courses of `exporters`. What truly happened is found out without a look at the telemetry (`truth`); what Prometheus knows
is counted from its raw samples (`book`). A round's book is closed when the next run has been scraped, or the pod's exporter has left.

One thing is left out: a pod that goes with its directory right after its exporter was killed. Nobody could tell of its end.
"""
