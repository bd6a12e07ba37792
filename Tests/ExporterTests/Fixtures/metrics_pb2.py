"""The messages of `io/prometheus/client/metrics.proto` (prometheus/client_model), as protobuf's own library decodes them.

No Python package has that file since native histograms; this has its field names, numbers and types.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, proto, timestamp_pb2

PACKAGE = "io.prometheus.client"
TYPES = ["COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"]
TIMESTAMP = ".google.protobuf.Timestamp"
MESSAGES = {
    "LabelPair": "name=1 string, value=2 string",
    "Gauge": "value=1 double",
    "Counter": f"value=1 double, exemplar=2 Exemplar, created_timestamp=3 {TIMESTAMP}",
    "Quantile": "quantile=1 double, value=2 double",
    "Summary": f"sample_count=1 uint64, sample_sum=2 double, quantile=3 *Quantile, created_timestamp=4 {TIMESTAMP}",
    "Untyped": "value=1 double",
    "Histogram": "sample_count=1 uint64, sample_count_float=4 double, sample_sum=2 double, bucket=3 *Bucket,"
    f" created_timestamp=15 {TIMESTAMP}, schema=5 sint32, zero_threshold=6 double, zero_count=7 uint64,"
    " zero_count_float=8 double, negative_span=9 *BucketSpan, negative_delta=10 *sint64, negative_count=11 *double,"
    " positive_span=12 *BucketSpan, positive_delta=13 *sint64, positive_count=14 *double, exemplars=16 *Exemplar",
    "Bucket": "cumulative_count=1 uint64, cumulative_count_float=4 double, upper_bound=2 double, exemplar=3 Exemplar",
    "BucketSpan": "offset=1 sint32, length=2 uint32",
    "Exemplar": f"label=1 *LabelPair, value=2 double, timestamp=3 {TIMESTAMP}",
    "Metric": "label=1 *LabelPair, gauge=2 Gauge, counter=3 Counter, summary=4 Summary, untyped=5 Untyped,"
    " histogram=7 Histogram, timestamp_ms=6 int64",
    "MetricFamily": "name=1 string, help=2 string, type=3 MetricType, metric=4 *Metric, unit=5 string",
}


def file():
    result = descriptor_pb2.FileDescriptorProto(
        name="io/prometheus/client/metrics.proto",
        package=PACKAGE,
        syntax="proto2",
        dependency=[timestamp_pb2.DESCRIPTOR.name],
    )
    enum = result.enum_type.add(name="MetricType")
    for number, name in enumerate(TYPES):
        enum.value.add(name=name, number=number)
    for name, fields in MESSAGES.items():
        message = result.message_type.add(name=name)
        for text in fields.split(", "):
            add_field(message, *text.split(" "))
    return result


def add_field(message, declaration, kind):
    name, number = declaration.split("=")
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
    kind = kind.removeprefix("*")
    if kind.islower() and not kind.startswith("."):
        field.type = getattr(field, f"TYPE_{kind.upper()}")
        return
    field.type = field.TYPE_ENUM if kind == "MetricType" else field.TYPE_MESSAGE
    field.type_name = kind if kind.startswith(".") else f".{PACKAGE}.{kind}"


pool = descriptor_pool.Default()
pool.Add(file())
MetricFamily = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.MetricFamily"))


def type_name(number):
    return TYPES[number].lower()


def families(stream):
    """The families of a stream in which each comes after its length; nothing unknown may be in them."""
    while family := proto.parse_length_prefixed(MetricFamily, stream):
        assert family.SerializeToString() and not unknown(family)
        yield family


def unknown(message):
    from google.protobuf import unknown_fields

    if len(unknown_fields.UnknownFieldSet(message)):
        return True
    children = (value for field, value in message.ListFields() if field.message_type)
    return any(
        unknown(child) for value in children for child in ([value] if hasattr(value, "DESCRIPTOR") else value)
    )
