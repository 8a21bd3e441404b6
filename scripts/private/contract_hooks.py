"""What scripts/contract tells schemathesis: how to write a body of lines of JSON, which is described as a text, and to use no
idempotency key twice."""

import itertools
import re

import schemathesis

calls = itertools.count(1)


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key that comes again with its request gets the answer of before, also if what was made has been deleted since: as it
    should, but the stateful checks want to find what an answer says was made."""
    phase = case.meta.phase.name.value if case.meta else ""
    key = case.headers.get("Idempotency-Key") if phase == "stateful" and case.headers else None
    if isinstance(key, str) and re.fullmatch("[!-~]{1,255}", key):
        case.headers["Idempotency-Key"] = f"{key[:200]}-{next(calls)}"
