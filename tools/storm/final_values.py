"""The last word of a run, series by series, against what each Prometheus has of it."""

import time

STORING = 5  # Seconds: what Prometheus has acknowledged, it has still to store.


def missed_at_the_end(prometheus, instance, last_word):
    """How many of the values are not the last ones, now that the exporter has left."""
    def count():
        found = prometheus.last_values(instance)
        return sum(found.get(series) != value for series, value in last_word.items())

    end = time.monotonic() + STORING
    while (missed := count()) and time.monotonic() < end:
        time.sleep(0.2)
    return missed


def missed_by_the_next(prometheus, instance, last_word):
    """How many of the values that are carried on have not come, now that the next run has been seen."""
    found = prometheus.last_values(instance)
    return sum(not is_carried(series, value, found.get(series)) for series, value in last_word.items())


def is_carried(series, value, found):
    """Whether a series of a last word has come, although the next run has begun."""
    name = dict(series)["__name__"]
    if name.startswith("streamvault_last_shutdown_"):
        return found == value
    is_count = name.endswith(("_total", "_bucket", "_count", "_sum"))
    return not is_count or (found is not None and found >= value)
