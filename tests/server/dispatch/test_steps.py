"""The steps, wired to a data directory, and jobs that go through them to a slot."""

from __future__ import annotations

import base64

import pytest

from server.dispatch.steps import open_preparing
from server.jobs.model import JobState, NewJob
from server.media.fetch_policy import BadRule
from server.services import open_services
from tests.server.dispatch.conftest import wait_until
from tests.server.language_server import running
from tests.server.media.lora_files import PAIR, a_lora
from tests.wan_local.media.files import picture

T2V = "fal-ai/wan/v2.2-a14b/text-to-video"
I2V = "fal-ai/wan/v2.2-a14b/image-to-video"
LORA = "fal-ai/wan/v2.2-a14b/text-to-video/lora"


@pytest.fixture
def opened(settings):
    """Open the services of a data directory as often as a test restarts the server."""
    open_now = []

    def open_one(**changes):
        services = open_services(settings.model_copy(update=changes))
        open_now.append(services.close)
        preparing = open_preparing(services)
        open_now.append(preparing.stop)
        return services, preparing

    yield open_one
    for close in reversed(open_now):
        close()


def submit(services, endpoint, **input):
    new = NewJob(endpoint=endpoint, input={"prompt": "a fox", **input}, seed=1, to_prepare=True)
    return services.jobs.submit(new).id


def test_a_job_that_waited_over_a_restart_is_prepared_by_the_next_server(opened, tmp_path):
    """Accepted is accepted; and a job that was prepared keeps its file."""
    data = base64.b64encode(picture(tmp_path / "a.png").read_bytes()).decode()
    services, preparing = opened()
    id = submit(services, I2V, image_url=f"data:;base64,{data}")
    preparing.stop()
    services.close()
    services, preparing = opened()
    preparing.start()

    wait_until(lambda: services.jobs.get(id).prepared)
    [source] = services.jobs.get(id).prepared.sources.values()

    assert source["path"].startswith(str(services.settings.data_dir / "inputs"))


def test_a_bad_input_ends_its_job(opened):
    """With the setting that would allow it."""
    services, preparing = opened()
    preparing.start()
    id = submit(services, I2V, image_url="https://example.com/a.png")

    wait_until(lambda: services.jobs.get(id).state.is_final)
    outcome = services.jobs.get(id).outcome

    assert (JobState.FAILED, 422) == (outcome.state, outcome.status_code)
    assert "fetch_public" in outcome.error


def test_loras_are_looked_for_where_the_operator_keeps_them(opened):
    """And a name that is none is refused before any slot is taken."""
    services, preparing = opened()
    preparing.start()
    id = submit(services, LORA, loras=[{"path": "no-such-style"}])

    wait_until(lambda: services.jobs.get(id).state.is_final)

    assert ["body", "loras", 0, "path"] == services.jobs.get(id).outcome.body["detail"][0]["loc"]


def test_a_prompt_is_written_out_before_the_job_has_a_slot(opened):
    """By the operator's server, and only where the client asked for it."""
    with running() as language:
        services, preparing = opened(expansion="openai", expansion_url=language.url)
        preparing.start()
        asked = submit(services, T2V, enable_prompt_expansion=True)
        plain = submit(services, T2V)
        wait_until(lambda: all(services.jobs.get(id).prepared for id in (asked, plain)))

    assert "a red cat runs" == services.jobs.get(asked).prepared.prompt
    assert None is services.jobs.get(plain).prepared.prompt
    assert 1 == len(language.asked)


def test_a_rule_that_cannot_be_read_stops_the_start(opened):
    """Better than a server that allows less, or more, than its operator thinks."""
    with pytest.raises(BadRule, match="fetch_allow"):
        opened(fetch_allow=("*.studio.lan",))


def test_a_lora_for_another_model_ends_its_job_before_a_gpu_is_asked_for(opened, weights, tmp_path):
    """Its header says so; a queue of hours would say it later."""
    shapes = {
        f"diffusion_model.blocks.0.self_attn.q.lora_{half}.weight": shape
        for half, shape in (("A", [4, 3072]), ("B", [3072, 4]))
    }
    for name, lora in (("fits", PAIR), ("of-5b", shapes)):
        a_lora(tmp_path / f"{name}.safetensors", lora)
    services, preparing = opened(weights_dir=weights, lora_roots=(tmp_path,))
    preparing.start()
    fits, refused = (
        submit(services, LORA, loras=[{"path": str(tmp_path / f"{name}.safetensors")}])
        for name in ("fits", "of-5b")
    )

    wait_until(lambda: services.jobs.get(fits).prepared)
    wait_until(lambda: services.jobs.get(refused).state.is_final)
    outcome = services.jobs.get(refused).outcome
    assert (422, "value_error") == (outcome.status_code, outcome.error_type)
    assert "it is for Wan 2.2 TI2V-5B (inner dimension 3072)" in outcome.error
