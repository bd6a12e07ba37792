#!/usr/bin/env python3
"""Reads a page of metrics with what others wrote, and prints its samples, one a line, in a form common to all formats.

Usage: read_page.py text|openmetrics|protobuf < PAGE
"""

import io
import sys

try:
    from prometheus_client import parser as text_parser
    from prometheus_client.openmetrics import parser as openmetrics_parser

    import metrics_pb2
except ModuleNotFoundError as error:
    sys.exit(f"{error}: run `make setup`")


def show(kind, name, labels, *rest):
    if "le" in labels:
        labels["le"] = repr(float(labels["le"]))
    print(repr((kind, name, sorted(labels.items()), *rest)))


def read_text(parse, page):
    for family in parse(page.decode()):
        for sample in family.samples:
            show("sample", sample.name, dict(sample.labels), float(sample.value))
        name = family.name + "_total" if family.type == "counter" else family.name
        name += "_info" if family.type == "info" else ""
        kind = "gauge" if family.type in ("info", "stateset") else family.type
        print(repr(("family", name, kind, family.documentation)))
        if parse is openmetrics_parser.text_string_to_metric_families:
            print(repr(("unit", name, family.unit)))


def read_protobuf(page):
    for family in metrics_pb2.families(io.BytesIO(page)):
        kind = metrics_pb2.type_name(family.type)
        for metric in family.metric:
            labels = {pair.name: pair.value for pair in metric.label}
            assert len(labels) == len(metric.label)
            if kind == "histogram":
                read_histogram(family.name, labels, metric.histogram)
            else:
                value = getattr(metric, kind)
                assert value.HasField("value")
                show("sample", family.name, labels, value.value)
                read_created(kind, family.name, labels, value)
        print(repr(("family", family.name, kind, family.help)))
        print(repr(("unit", family.name, family.unit)))


def read_histogram(name, labels, histogram):
    show("sample", name + "_sum", labels, histogram.sample_sum)
    show("sample", name + "_count", labels, float(histogram.sample_count))
    for bucket in histogram.bucket:
        show("sample", name + "_bucket", {**labels, "le": bucket.upper_bound}, float(bucket.cumulative_count))
    # Readers of the format make this one themselves.
    show("sample", name + "_bucket", {**labels, "le": "inf"}, float(histogram.sample_count))
    read_created("histogram", name, labels, histogram)
    if not histogram.HasField("schema"):
        return
    counts, index, count, deltas = {}, 0, 0, iter(histogram.positive_delta)
    for span in histogram.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += next(deltas)
            counts[index] = count
            index += 1
    assert next(deltas, None) is None and all(count >= 0 for count in counts.values())
    assert histogram.zero_count + sum(counts.values()) == histogram.sample_count
    native = histogram.schema, histogram.zero_threshold, histogram.zero_count
    show("native", name, labels, *native, {i: count for i, count in counts.items() if count})


def read_created(kind, name, labels, value):
    if kind in ("counter", "histogram") and value.HasField("created_timestamp"):
        name = name.removesuffix("_total") + "_created"
        stamp = value.created_timestamp
        show("sample", name, labels, float(f"{stamp.seconds}.{stamp.nanos:09}"))


if __name__ == "__main__":
    data = sys.stdin.buffer.read()
    if sys.argv[1] == "text":
        read_text(text_parser.text_string_to_metric_families, data)
    elif sys.argv[1] == "openmetrics":
        read_text(openmetrics_parser.text_string_to_metric_families, data)
    else:
        read_protobuf(data)
