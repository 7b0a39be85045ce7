"""What the operator wants files to be and to say."""

from __future__ import annotations

import hashlib
import json

import pytest

from server.output_style import in_style, request_of, write_sidecar
from server.schemas.video import TextToVideoInput
from server.settings import Settings
from tests.wan_local.plans import a_plan
from wan_local.events import Finished
from wan_local.geometry import Size
from wan_local.plan import EncodingSpec, RecordSpec

ENDPOINT = "fal-ai/wan/v2.2-a14b/text-to-video"


def test_a_request_is_recorded_after_its_defaults():
    """A default that changes with a release would make another video from the same record."""
    asked = json.loads(request_of(ENDPOINT, TextToVideoInput(prompt="a cat")))

    assert ENDPOINT == asked["endpoint"]
    assert "a cat" == asked["request"]["prompt"]
    assert TextToVideoInput.model_fields["num_frames"].default == asked["request"]["num_frames"]


def test_a_data_uri_is_recorded_by_its_hash():
    """Ten megabytes of base64 have no place in a comment."""
    uri = "data:image/png;base64,aGVsbG8="
    asked = json.loads(request_of(ENDPOINT, TextToVideoInput(prompt=uri)))

    assert f"sha256:{hashlib.sha256(uri.encode()).hexdigest()}" == asked["request"]["prompt"]


@pytest.mark.parametrize(
    ("url", "recorded"),
    [
        ("https://a.lan/x.png?X-Sig=canary&e=1", "https://a.lan/x.png?[redacted]"),
        ("https://ada:canary@a.lan/x@2.png", "https://a.lan/x@2.png"),
        (
            "https://civitai.com/models/7?modelVersionId=9&token=canary",
            "https://civitai.com/models/7?modelVersionId=9&[redacted]",
        ),
        ("https://civitai.com/models/7?modelVersionId=9",) * 2,
        ("HTTPS://a.lan?sig=canary", "HTTPS://a.lan?[redacted]"),
        ("a sign that says http://x?y=z",) * 2,
    ],
)
def test_nothing_in_a_file_opens_a_door(url, recorded):
    """Videos are handed on, with what stands in them."""
    asked = json.loads(request_of(ENDPOINT, TextToVideoInput(prompt=url)))

    assert recorded == asked["request"]["prompt"]


def test_the_operators_format_replaces_the_apis_and_its_quality_stays():
    """Clients say how good, the studio says what."""
    plan = a_plan(encoding=EncodingSpec(quality="maximum"))
    styled = in_style(plan, Settings(video_format="prores422", nvenc=True))

    assert EncodingSpec(quality="maximum", format="prores422", encoder="nvenc") == styled.encoding
    assert ".mov" == styled.file_ending


@pytest.mark.parametrize("policy", ["full", "minimal", "none"])
def test_the_policy_goes_with_the_plan(policy, tmp_path):
    """And what the planner wrote down of the request stays."""
    plan = a_plan(record=RecordSpec(request='{"endpoint":"x"}'))
    styled = in_style(plan, Settings(metadata=policy, sidecar_dir=tmp_path))

    assert RecordSpec(request='{"endpoint":"x"}', policy=policy) == styled.record


def test_nothing_is_hashed_for_nobody():
    """Reading 28 GB is not free, even once."""
    assert None is in_style(a_plan(record=RecordSpec()), Settings(metadata="none")).record


def test_a_sidecar_holds_the_record_and_the_timings(tmp_path):
    """The timings are another number at every run, so the file itself cannot hold them."""
    finished = Finished(
        "x", Size(64, 48), 9, 16, 7, {"denoise": 1.5}, "a cat", record='{"schema":"wan-local/1"}'
    )
    write_sidecar(tmp_path / "a.json", finished, sha256="0" * 64, size_bytes=3)
    about = json.loads((tmp_path / "a.json").read_text())

    assert ("wan-local/1", {"denoise": 1.5}) == (about["schema"], about["timings"])
    assert (64, 9, 3) == tuple(
        about["file"][name] for name in ("width", "num_frames", "size_bytes")
    )
    assert [tmp_path / "a.json"] == list(tmp_path.iterdir())
