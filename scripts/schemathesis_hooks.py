"""What schemathesis must know to send our bodies."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json")
def as_sent(context, value):
    """Lines are text already; every other body is JSON."""
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")
