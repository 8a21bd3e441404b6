"""What scripts/contract tells schemathesis: how to write a body of lines of JSON, which is described as a text."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()
