"""`wan-local generate`: the endpoints without a server.

The same input schema, planner, GPU process and slot messages as a job of the server, minus the
queue: what works here works there.
"""

from __future__ import annotations

import secrets
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated

import orjson
import typer
from pydantic import BaseModel

from server.cli.exits import ENGINE_EXITS, Exit, give_up
from server.cli.flags import AsJson, DeviceFlag, QuantizationFlag, WeightsDir, load_settings
from server.cli.local_files import find_sources
from server.cli.previews import with_previews
from server.cli.progress import Bar, JsonLines, PlainLines, Progress, on_terminal
from server.cli.typed import FORMATS, parse, read_body, read_fields, with_format
from server.dispatch.local_slot import LocalSlot, local_slots
from server.dispatch.slot import (
    Alive,
    Cancel,
    Cancelled,
    Done,
    Errand,
    Failed,
    Lost,
    Quit,
    Run,
    Said,
)
from server.endpoints import ENDPOINTS, Endpoint, find_endpoint
from server.expansion import expansion_of, open_expander, with_expansion
from server.media.content_types import OUTPUT_TYPES
from server.media.sources import Sources, provisional
from server.output_style import request_of, write_sidecar
from server.policy import under_policy
from server.schemas.common import MAX_SEED, File
from server.settings import Settings
from wan_local.errors import BadCheckpoint, InvalidPlan, WeightsMissing
from wan_local.models.loras.files import require_loras
from wan_local.models.weights import find_checkpoint
from wan_local.plan import RecordSpec, VideoPlan

ERRAND = Errand(job="generate", attempt=1)


class Interrupted(Exception):
    """The user pressed Ctrl-C, or the process was told to end."""


def generate(  # noqa: PLR0913 - each parameter is a flag
    endpoint: Annotated[str, typer.Argument(help="Id as `wan-local models` lists it.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; out.mp4, out.jpg or out.png."),
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", "-i", help="One input field: num_frames=49. Files may be paths."),
    ] = None,
    body: Annotated[
        Path | None, typer.Option("--input", help="JSON file with the request body; - is stdin.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=MAX_SEED)] = None,
    preview: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder for rough pictures on the way, or `terminal`."),
    ] = None,
    weights_dir: WeightsDir = None,
    device: DeviceFlag = None,
    quantization: QuantizationFlag = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make one video, or one picture, and exit."""
    row = find_endpoint(endpoint)
    if row is None:
        give_up(Exit.USAGE, f"no endpoint {endpoint!r}; there are: {', '.join(ENDPOINTS)}")
    request = read_body(body) | read_fields(fields or [])
    request |= {k: v for k, v in {"prompt": prompt, "seed": seed}.items() if v is not None}
    wire = parse(row, with_format(row, request, output))
    given: int | None = getattr(wire, "seed", None)
    drawn = secrets.randbelow(2**31) if given is None else given
    settings = load_settings(weights_dir=weights_dir, device=device, quantization=quantization)
    # Tried before anything is fetched or started, as the server does at admission.
    plan = _under_policy(settings, _plan(row, wire, drawn, provisional(row.needs(wire))))
    _require_weights(settings, plan)
    output = _place(output, plan)
    progress: Progress = JsonLines() if as_json else Bar() if on_terminal() else PlainLines()
    if preview is not None:
        progress = with_previews(progress, preview)
    with tempfile.TemporaryDirectory(prefix="wan-local-") as folder, interruptible():
        settings = settings.model_copy(update={"data_dir": Path(folder)})
        try:
            sources = find_sources(settings, Path(folder), row.needs(wire))
            plan = _expanded(settings, _plan(row, wire, drawn, sources))
        except Interrupted:
            give_up(Exit.CANCELLED, "stopped; nothing was written")
        if preview is not None:
            plan = replace(plan, preview_every=settings.preview_every or 1)
        done = _carry_out(settings, plan, output, progress)
    if settings.sidecar_dir is not None:
        sidecar = settings.sidecar_dir / f"{output.name}.json"
        write_sidecar(sidecar, done.finished, sha256=done.sha256, size_bytes=done.size_bytes)
    answer = row.answer(_file(output, plan, done), done.finished)
    if as_json:
        typer.echo(orjson.dumps({"kind": "output", "output": answer}))
    else:
        typer.echo(f"{output.absolute()}  seed {done.finished.seed}")


def _plan(endpoint: Endpoint, wire: BaseModel, seed: int, sources: Sources) -> VideoPlan:
    try:
        plan = endpoint.plan(wire, seed, sources)
    except InvalidPlan as error:
        give_up(Exit.USAGE, str(error))
    return replace(plan, record=RecordSpec(request=request_of(endpoint.id, wire)))


def _place(output: Path | None, plan: VideoPlan) -> Path:
    """Return where to write what *plan* makes: *output*, unless its name says something else."""
    path = output or Path(f"out{plan.file_ending}")
    endings = path.suffix.lower(), plan.file_ending
    if path.suffix and len({FORMATS.get(ending, ending) for ending in endings}) > 1:
        give_up(Exit.USAGE, f"-o {path}: the output is a {plan.file_ending} file")
    if not path.parent.is_dir():
        give_up(Exit.USAGE, f"there is no folder {path.parent}")
    return path


def _require_weights(settings: Settings, plan: VideoPlan) -> None:
    """Find out before a GPU process is started, which takes seconds."""
    try:
        find_checkpoint(settings.weights_dir, plan.model)
        require_loras(settings.weights_dir, plan.loras)
    except WeightsMissing as error:
        give_up(Exit.WEIGHTS_MISSING, str(error))
    except BadCheckpoint as error:
        give_up(Exit.FAILED, str(error))


def _under_policy(settings: Settings, plan: VideoPlan) -> VideoPlan:
    """Let the settings decide on checks and expansion, as the server does."""
    try:
        return under_policy(plan, settings)
    except WeightsMissing as error:
        give_up(Exit.WEIGHTS_MISSING, str(error))
    except BadCheckpoint as error:
        give_up(Exit.FAILED, str(error))


def _expanded(settings: Settings, asked: VideoPlan) -> VideoPlan:
    """Return *asked* under the policy, its prompt written out if a server does that."""
    expander = open_expander(settings) if asked.prompt.expand else None
    if expander is not None:
        expanded = expansion_of(asked, expander)
        asked = with_expansion(asked, expanded.text)
        if expanded.text is None:
            asked = replace(asked, remarks=(*asked.remarks, expanded.remark))
    return _under_policy(settings, asked)


def _carry_out(settings: Settings, plan: VideoPlan, output: Path, progress: Progress) -> Done:
    """Run *plan* in a GPU process of its own and put the file at *output*, whole or not at all."""
    part = output.absolute().with_name(
        f".{output.stem}.{secrets.token_hex(4)}.part{plan.file_ending}"
    )
    slot = _slot(settings)
    try:
        slot.start()
        slot.send(Run(errand=ERRAND, plan=plan, output=str(part)))
        with progress:
            done = _follow(slot, progress)
        part.replace(output)
    except Interrupted:
        _cancel(slot)
        give_up(Exit.CANCELLED, "stopped; nothing was written")
    except Lost as error:
        # The log goes with the folder: its last words are shown now or never.
        give_up(Exit.FAILED, f"{error}\n{_tail(slot.log_path)}")
    finally:
        slot.send(Quit())
        slot.kill()
        part.unlink(missing_ok=True)
    return done


def _slot(settings: Settings) -> LocalSlot:
    slots = local_slots(settings)
    if not slots:
        give_up(Exit.NO_GPU, "there is no CUDA device here; --device cpu runs on the CPU")
    return slots[0]


def _follow(slot: LocalSlot, progress: Progress) -> Done:
    """Show what the slot says until the file is there."""
    while True:
        message = slot.receive()
        if isinstance(message, Said):
            progress.show(message.event)
        elif isinstance(message, Done):
            return message
        elif isinstance(message, Failed):
            give_up(ENGINE_EXITS.get(message.error, Exit.FAILED), message.message)
        elif not isinstance(message, Alive):
            raise Interrupted


def _tail(log: Path, lines: int = 12) -> str:
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _cancel(slot: LocalSlot) -> None:
    """Let the engine drop the plan, so that it takes its own half-written file away."""
    slot.send(Cancel(errand=ERRAND))
    try:
        while not isinstance(slot.receive(), Cancelled | Done | Failed):
            pass
    except (Lost, Interrupted):
        return


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Interrupted`, wherever the block stands."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _file(path: Path, plan: VideoPlan, done: Done) -> File:
    return File(
        url=path.absolute().as_uri(),
        content_type=OUTPUT_TYPES[plan.file_ending],
        file_name=path.name,
        file_size=done.size_bytes,
    )
