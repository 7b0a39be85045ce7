"""The same programs with fal_client's async functions; see sync_client.py."""

from __future__ import annotations

import asyncio
import json
import sys

import fal_client

from tests.contract.sync_client import ENDPOINT, LONG, TINY, describe


async def subscribe():
    """The one call of the README, awaited."""
    ids, updates = [], []
    result = await fal_client.subscribe_async(
        ENDPOINT,
        arguments=TINY | {"seed": 7},
        with_logs=True,
        on_enqueue=ids.append,
        on_queue_update=lambda update: updates.append(describe(update)),
    )
    return {"result": result, "ids": ids, "updates": updates}


async def submit_and_follow():
    """Two jobs at once, each followed by its own task."""

    async def follow(seed):
        handle = await fal_client.submit_async(ENDPOINT, arguments=TINY | {"seed": seed})
        events = [describe(e) async for e in handle.iter_events(with_logs=True, interval=0.05)]
        return {"events": events, "result": await handle.get()}

    return {"jobs": await asyncio.gather(follow(1), follow(2))}


async def cancel():
    """Cancel a job that runs."""
    handle = await fal_client.submit_async(ENDPOINT, arguments=LONG)
    async for update in handle.iter_events(interval=0.05):
        if isinstance(update, fal_client.InProgress):
            await handle.cancel()
    try:
        return {"end": {"result": await handle.get()}}
    except fal_client.FalClientHTTPError as error:
        return {"end": {"status": error.status_code, "error_type": error.error_type}}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(globals()[sys.argv[1]]())))
