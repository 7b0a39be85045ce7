"""Programs as people write them for the hosted service, with fal_client's ordinary functions.

Each prints what it saw as JSON. They run in processes of their own, because fal_client reads its
environment when it is imported: `python -m tests.contract.sync_client subscribe`.
"""

from __future__ import annotations

import json
import sys

import fal_client

ENDPOINT = "fal-ai/wan/v2.2-a14b/text-to-video"
TINY = {
    "prompt": "a red balloon rises over the city",
    "resolution": "480p",
    "num_frames": 17,
    "num_inference_steps": 2,
    "interpolator_model": "none",
}
LONG = TINY | {"num_frames": 161, "num_inference_steps": 40}


def describe(update):
    """One status as plain data."""
    return {
        "kind": type(update).__name__,
        "position": getattr(update, "position", None),
        "logs": [line["message"] for line in getattr(update, "logs", None) or []],
    }


def subscribe():
    """The one call of the README."""
    ids, updates = [], []
    result = fal_client.subscribe(
        ENDPOINT,
        arguments=TINY | {"seed": 7},
        with_logs=True,
        on_enqueue=ids.append,
        on_queue_update=lambda update: updates.append(describe(update)),
    )
    return {"result": result, "ids": ids, "updates": updates}


def submit_and_follow():
    """Submit, follow the events, then ask again by id, as another process would."""
    handle = fal_client.submit(ENDPOINT, arguments=TINY)
    events = [describe(event) for event in handle.iter_events(with_logs=True, interval=0.05)]
    return {
        "events": events,
        "result": handle.get(),
        "status_by_id": describe(fal_client.status(ENDPOINT, handle.request_id, with_logs=True)),
        "result_by_id": fal_client.result(ENDPOINT, handle.request_id),
    }


def cancel():
    """Cancel one job that waits and one that runs."""
    running = fal_client.submit(ENDPOINT, arguments=LONG)
    waiting = fal_client.submit(ENDPOINT, arguments=LONG)
    first = describe(waiting.status())
    for update in running.iter_events(interval=0.05):
        if isinstance(update, fal_client.InProgress):
            break
    waiting.cancel()
    fal_client.cancel(ENDPOINT, running.request_id)
    return {"first": first, "ends": [how_it_ended(waiting), how_it_ended(running)]}


def invalid():
    """Ask for what cannot be."""
    ends = []
    for change in ({"num_frames": 5}, {"prompt": None}, {"resolution": "8k"}):
        try:
            ends.append({"result": fal_client.subscribe(ENDPOINT, arguments=TINY | change)})
        except fal_client.FalClientHTTPError as error:
            ends.append({"status": error.status_code, "detail": error.response.json()["detail"]})
    return {"ends": ends}


def data_uri():
    """Send fields this endpoint does not have, one of them a file: hosted endpoints shrug."""
    picture = fal_client.encode(b"\x89PNG\r\n\x1a\n" + bytes(2000), "image/png")
    return {"result": fal_client.run(ENDPOINT, arguments=TINY | {"image_url": picture})}


def how_it_ended(handle):
    """The HTTP error of a job that has none but that."""
    for _ in handle.iter_events(interval=0.05):
        pass
    try:
        return {"result": handle.get()}
    except fal_client.FalClientHTTPError as error:
        return {"status": error.status_code, "error_type": error.error_type}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
