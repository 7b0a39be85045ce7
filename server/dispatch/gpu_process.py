"""The child process that owns one Engine and one GPU.

    python -m server.dispatch.gpu_process --socket PATH --name gpu0 --device cuda:0 --weights DIR

Started by `local_slot.py` and never imported by the server: a crash in CUDA takes this process
down and nothing else. It outlives a server that dies, finishes what it is doing, and waits
`--grace` seconds for the next one.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import logging
import signal
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Protocol, get_args

from server.dispatch.server_link import ServerLink
from server.dispatch.slot import Cancelled, Done, Failed, Run
from wan_local.catalog import Quantization
from wan_local.errors import ContentRefused, WanLocalError
from wan_local.events import Event, Finished
from wan_local.plan import VideoPlan

log = logging.getLogger("server.dispatch.gpu_process")

NO_MEMORY = "The machine's main memory does not suffice for this request"
UNEXPECTED = "The engine failed unexpectedly; the operator finds the reason in the slot's log"


class Engine(Protocol):
    """Anything that carries out plans, `wan_local.engine.Engine` above all."""

    device_name: str

    def run(self, plan: VideoPlan, output: Path) -> Generator[Event, None, None]:
        """Carry out *plan*; closing the generator drops it and leaves no file."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


def serve(engine: Engine, link: ServerLink) -> None:
    """Carry out one order after another, until the link says that it is over."""
    while (order := link.next_order()) is not None:
        link.begin(order.errand)
        link.end(carry_out(engine, link, order))


def carry_out(engine: Engine, link: ServerLink, order: Run) -> Done | Failed | Cancelled:
    """Run one plan to its end, whatever that is.

    Raises:
        Exception: If CUDA itself is broken: only a new process has a working context again.
    """
    try:
        return _run(engine, link, order)
    except ContentRefused as error:
        refused = type(error).__name__
        return Failed(errand=order.errand, error=refused, message=str(error), part=error.part)
    except WanLocalError as error:
        return Failed(errand=order.errand, error=type(error).__name__, message=str(error))
    except MemoryError:
        log.exception("out of main memory")
        gc.collect()
        return Failed(errand=order.errand, error="OutOfMemory", message=NO_MEMORY)
    except Exception as error:
        # A bug in the engine costs one job, not the GPU's process with its loaded weights.
        if broken_for_good(error):
            raise
        log.exception("job %s failed", order.errand.job)
        return Failed(errand=order.errand, error="InternalError", message=UNEXPECTED)


def broken_for_good(error: Exception) -> bool:
    """Return whether *error* leaves the process without a working CUDA context.

    After a device-side assert or an illegal access every later CUDA call fails as well. Told by
    the text, as torch has no class of its own for them in all the releases we accept.
    """
    return isinstance(error, RuntimeError) and "CUDA error" in str(error)


def _run(engine: Engine, link: ServerLink, order: Run) -> Done | Cancelled:
    errand, output = order.errand, Path(order.output)
    if link.dropped(errand):
        return Cancelled(errand=errand)
    with closing(engine.run(order.plan, output)) as events:
        for event in events:
            link.say(event)
            if isinstance(event, Finished):
                return Done(
                    errand=errand,
                    finished=event,
                    sha256=_sha256(output),
                    size_bytes=output.stat().st_size,
                )
            if link.dropped(errand):
                return Cancelled(errand=errand)
    msg = "the engine stopped without finishing"
    raise RuntimeError(msg)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_engine(
    spec: str, weights_dir: Path, device: str, quantization: Quantization = "none"
) -> Engine:
    """Call the function that *spec* names as `module:function`."""
    module, _, function = spec.partition(":")
    opened = getattr(importlib.import_module(module), function)
    engine: Engine = opened(weights_dir, device, quantization)
    return engine


def main(arguments: list[str]) -> None:
    """Serve until told to quit, or until no server has come for the grace time."""
    parser = argparse.ArgumentParser(prog="server.dispatch.gpu_process", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen on")
    parser.add_argument("--name", required=True, help="name of the slot, such as gpu0")
    parser.add_argument("--device", required=True, help="cpu, or cuda:0 and so on")
    parser.add_argument("--weights", type=Path, required=True, help="the weights directory")
    parser.add_argument("--quantization", default="none", choices=get_args(Quantization))
    parser.add_argument("--grace", type=float, default=60.0, help="seconds without a server")
    parser.add_argument("--engine", default="wan_local.engine:open_engine", metavar="MODULE:NAME")
    flags = parser.parse_args(arguments)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    # Before torch is loaded, which takes seconds: the server sees at once that we are coming.
    link = ServerLink(flags.socket, slot=flags.name, grace=flags.grace)
    signal.signal(signal.SIGTERM, lambda _number, _frame: link.quit())
    # Ctrl-C in the server's terminal is the server's to answer: it lets the running job end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        engine = open_engine(flags.engine, flags.weights, flags.device, flags.quantization)
        with closing(engine):
            link.open(engine.device_name)
            log.info("%s is ready on %s", flags.name, engine.device_name)
            serve(engine, link)
    finally:
        if link.abandoned_output is not None:
            Path(link.abandoned_output.finished.path).unlink(missing_ok=True)
        link.close()


if __name__ == "__main__":
    main(sys.argv[1:])
