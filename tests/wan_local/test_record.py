"""How a file was made, and how much of it the file says."""

from __future__ import annotations

import json

import pytest

from tests.wan_local.plans import T2V, a_plan
from wan_local.plan import LoraRef, RecordSpec, SourceFile
from wan_local.record import (
    SCHEMA,
    from_json,
    from_user_comment,
    make_record,
    tags,
    to_json,
    to_user_comment,
)

ASKED = RecordSpec(request='{"endpoint": "e", "request": {"prompt": "a cat", "num_frames": 9}}')
HASHES = {"vae": "1" * 64}
PRECISION = {"dtype": "bfloat16", "quantization": "int8"}


def test_a_record_holds_what_makes_the_file_again():
    """Request, seed, and which weights: without one of them it would be another video."""
    lora = LoraRef(name="ink", scale=0.5, file=SourceFile(path="/x", sha256="2" * 64))
    record = make_record(a_plan(record=ASKED, loras=(lora,)), HASHES, "cpu", PRECISION)

    assert ("e", 9, 7) == (record["endpoint"], record["request"]["num_frames"], record["seed"])
    assert {"id": T2V, "components": HASHES} == record["model"]
    assert ("2" * 64, 0.5) == (record["loras"][0]["sha256"], record["loras"][0]["scale"])
    assert "h264" == record["encoding"]["format"]
    assert PRECISION == record["precision"]


def test_a_record_has_no_times_in_it():
    """Two runs of one request are one file."""
    plan = a_plan(record=ASKED)

    assert to_json(make_record(plan, HASHES, "cpu", PRECISION)) == to_json(
        make_record(plan, HASHES, "cpu", PRECISION)
    )


@pytest.mark.parametrize(
    ("policy", "names"),
    [("full", {"comment", "description"}), ("minimal", {"comment"}), ("none", set())],
)
def test_the_policy_decides_what_the_file_says(policy, names):
    """Agreements with clients often forbid prompts in what is delivered."""
    plan = a_plan(record=RecordSpec(request=ASKED.request, policy=policy))
    said = tags(make_record(plan, HASHES, "cpu", PRECISION), plan)

    assert names == said.keys()
    if policy != "full":
        assert "cat" not in "".join(said.values())


def test_minimal_names_software_and_model():
    """Enough for a support question."""
    plan = a_plan(record=RecordSpec(policy="minimal"))
    said = json.loads(tags(make_record(plan, HASHES, "cpu", PRECISION), plan)["comment"])

    assert {"schema", "version", "model"} == said.keys()
    assert {"id": T2V} == said["model"]


def test_a_plan_without_a_record_says_nothing():
    """Tests and tools that ask for none."""
    assert {} == tags({}, a_plan())


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"schema": "other/1"}'])
def test_other_peoples_comments_are_not_ours(text):
    """Every encoder writes something into that field."""
    assert None is from_json(text)


def test_a_record_is_read_back_whatever_is_in_it():
    """A prompt may hold anything that can be typed."""
    record = make_record(a_plan(record=ASKED), HASHES, "cpu", PRECISION) | {
        "prompt": '猫 "\\\n= ;#'
    }

    assert SCHEMA == record["schema"]
    assert record == from_json(to_json(record))


def test_a_user_comment_is_what_exif_says_it_is():
    """Other programs read it: eight bytes that name the code, then the letters in it."""
    assert b"UNICODE\0\x73\x2b" == to_user_comment("猫")
    assert "猫" == from_user_comment(b"UNICODE\0\x73\x2b")
    assert "猫" == from_user_comment(b"\0" * 8 + "猫".encode())
