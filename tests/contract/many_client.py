"""One program of fal_client that asks many endpoints at once.

Reads `{endpoint: arguments}` as JSON on stdin, submits all of it, then waits; prints what each came
to as JSON. In a process of its own, because fal_client reads its environment when imported.
"""

from __future__ import annotations

import json
import sys

import fal_client


def outcome(handle):
    """The result with its last log lines, or the error that a caller sees."""
    lines = []
    for update in handle.iter_events(with_logs=True, interval=0.25):
        lines = getattr(update, "logs", None) or lines
    log = [line["message"] for line in lines]
    try:
        return {"result": handle.get(), "log": log}
    except fal_client.FalClientHTTPError as error:
        detail = error.response.json()["detail"]
        return {"status": error.status_code, "detail": detail, "log": log}


if __name__ == "__main__":
    handles = {
        name: fal_client.submit(name.partition(" ")[0], arguments=arguments)
        for name, arguments in json.load(sys.stdin).items()
    }
    print(json.dumps({name: outcome(handle) for name, handle in handles.items()}))
