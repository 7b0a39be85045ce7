"""Expansion by a language model behind HTTP: a real server, good and bad."""

from __future__ import annotations

import base64
import io
import time

import pytest
from PIL import Image

from server.expansion import (
    MAX_ANSWER_BYTES,
    NotExpanded,
    answer_text,
    expansion_of,
    open_expander,
    with_expansion,
)
from server.settings import Settings
from tests.server.language_server import running
from tests.wan_local.plans import a_plan
from wan_local.expansion import INSTRUCTIONS
from wan_local.plan import PromptSpec, SourceFile

USED_AS_WRITTEN = "the prompt was not expanded and is used as written: "


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def expander(server):
    """Return a function that opens an expander on the server."""

    def open_it(**changes):
        settings = {"expansion_url": server.url, "expansion_model": "qwen3", **changes}
        return open_expander(Settings(expansion="openai", **settings))

    return open_it


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "blob-without-an-ending"
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "PNG")
    path.write_bytes(out.getvalue())
    return path


def expand(expander, prompt="a cat", kind="video", seed=3, picture=None):
    return expander.expand(prompt, kind, seed=seed, picture=picture)


def test_nobody_is_asked_unless_it_is_set():
    """Nothing reaches out to the network on its own."""
    assert open_expander(Settings()) is None
    assert open_expander(Settings(expansion="transformers")) is None


def test_the_prompt_is_expanded(server, expander):
    """And the log says by whom."""
    expanded = expand(expander())

    assert ("a red cat runs", "the prompt was expanded by qwen3") == (
        expanded.text,
        expanded.remark,
    )
    assert ["/v1/chat/completions"] == server.paths


def test_the_request_is_one_that_every_such_server_takes(server, expander):
    """Temperature 0 and the job's seed: a retry gets the same words."""
    expand(expander(), seed=2**40 + 5)

    assert [
        {
            "model": "qwen3",
            "messages": [
                {"role": "system", "content": INSTRUCTIONS["video"].strip()},
                {"role": "user", "content": "a cat"},
            ],
            "temperature": 0,
            "seed": 5,
            "max_tokens": 2048,
            "stream": False,
        }
    ] == server.asked
    assert [None] == server.keys


def test_a_key_is_sent_and_never_shown(server, expander):
    """Settings end up in tracebacks and support tickets."""
    settings = Settings(expansion="openai", expansion_url=server.url, expansion_key="s3cret")
    expand(open_expander(settings))

    assert ["Bearer s3cret"] == server.keys
    assert "s3cret" not in repr(settings)


def test_an_address_may_end_in_a_slash(server, expander):
    """Half of the manuals write it so."""
    expand(expander(expansion_url=f"{server.url}/"))

    assert ["/v1/chat/completions"] == server.paths


def test_a_picture_is_shown_to_a_model_that_can_see(server, expander, picture):
    """As a data URI, of the type that its bytes say."""
    expand(expander(expansion_vision=True), kind="motion", picture=picture)
    text, image = server.asked[0]["messages"][1]["content"]

    assert {"type": "text", "text": "a cat"} == text
    head, _, data = image["image_url"]["url"].partition(",")
    assert "data:image/png;base64" == head
    assert picture.read_bytes() == base64.b64decode(data)


def test_a_picture_is_not_shown_to_one_that_cannot(server, expander, picture):
    """Text models answer 400 to a list of parts."""
    expand(expander(), kind="motion", picture=picture)

    assert "a cat" == server.asked[0]["messages"][1]["content"]


def test_a_picture_too_large_is_left_out(server, expander, tmp_path):
    """The text alone is still worth expanding."""
    large = tmp_path / "large"
    large.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(11 * 2**20))
    expanded = expand(expander(expansion_vision=True), kind="motion", picture=large)

    assert "a cat" == server.asked[0]["messages"][1]["content"]
    assert expanded.text is not None


def test_what_is_known_is_not_asked_again(server, expander, picture):
    """By prompt, kind and picture, whatever the seed."""
    one = expander(expansion_vision=True)
    expand(one, seed=1)
    expand(one, seed=2)
    assert 1 == len(server.asked)
    expand(one, kind="picture")
    expand(one, prompt="a dog")
    expand(one, kind="motion", picture=picture)
    expand(one, kind="motion")

    assert 5 == len(server.asked)


def test_a_failure_is_not_remembered(server, expander):
    """The next job may find the server up again."""
    one = expander()
    server.status = 503
    assert expand(one).text is None
    server.status = 200

    assert "a red cat runs" == expand(one).text


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"status": 500}, "the language model's server answered 500"),
        ({"status": 401}, "the language model's server answered 401"),
        ({"status": 302, "headers": {"location": "http://127.0.0.1:9/"}}, "answered 302"),
        ({"body": b"<html>hello</html>"}, "answer is not a chat completion"),
        ({"body": b"{}"}, "answer is not a chat completion"),
        ({"body": b'{"choices": []}'}, "answer is not a chat completion"),
        ({"body": b'{"choices": [7]}'}, "answer is not a chat completion"),
        ({"body": b""}, "answer is not a chat completion"),
        ({"body": b'{"choices": [{"message": {"content": null}}]}'}, "its answer is empty"),
        ({"body": b" " * (MAX_ANSWER_BYTES + 1)}, "is longer than"),
        ({"answer": ""}, "its answer is empty"),
        ({"answer": "cat " * 2000}, "characters"),
        ({"answer": "I'm sorry, I can't do that."}, "refused"),
        ({"answer": "<think>hm"}, "still thinking"),
        ({"finish": "length"}, "did not end within 2048 tokens"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_whatever_goes_wrong_leaves_the_clients_words(server, expander, trouble, reason):
    """And the log says what, without the operator's addresses."""
    for name, value in trouble.items():
        setattr(server, name, value)
    expanded = expand(expander())

    assert expanded.text is None
    assert expanded.remark.startswith(USED_AS_WRITTEN)
    assert reason in expanded.remark
    assert "127.0.0.1" not in expanded.remark
    assert 1 == len(server.asked)


@pytest.mark.parametrize("slowness", [{"delay": 5.0}, {"drip": 0.05}])
def test_a_slow_server_is_not_waited_for(server, expander, slowness):
    """Not one that thinks too long, and not one that sends a byte now and then."""
    for name, value in slowness.items():
        setattr(server, name, value)
    began = time.monotonic()
    expanded = expand(expander(expansion_timeout=0.5))

    assert f"{USED_AS_WRITTEN}the language model did not answer within 0.5 s" == expanded.remark
    assert time.monotonic() - began < 4


def test_a_server_that_is_not_there_is_not_needed(expander):
    """Somebody switched the machine off over the weekend."""
    expanded = expand(expander(expansion_url="http://127.0.0.1:9/v1"))

    assert f"{USED_AS_WRITTEN}the language model cannot be reached" == expanded.remark


def test_a_server_that_speaks_no_http_is_not_needed(expander, server):
    """Nor one that TLS was expected of."""
    expanded = expand(expander(expansion_url=server.url.replace("http:", "https:")))

    assert f"{USED_AS_WRITTEN}the language model cannot be reached" == expanded.remark


def test_a_plan_is_expanded_for_its_kind(server, expander, picture):
    """The picture that the video begins with goes along."""
    cat = SourceFile(path=str(picture), sha256="0" * 64)
    expansion_of(a_plan(first_frame=cat), expander(expansion_vision=True))

    assert INSTRUCTIONS["motion"].strip() == server.asked[0]["messages"][0]["content"]
    assert 2 == len(server.asked[0]["messages"][1]["content"])


def test_the_clients_words_stay_beside_their_expansion():
    """They are what is checked, and what a page can show."""
    plan = with_expansion(a_plan(prompt=PromptSpec(text="a cat", expand=True)), "a red cat")

    assert PromptSpec(text="a red cat", written="a cat") == plan.prompt


def test_an_answer_in_parts_is_none():
    """Text is what was asked for."""
    assert "" == answer_text(b'{"choices": [{"message": {"content": [{"type": "image"}]}}]}')
    with pytest.raises(NotExpanded):
        answer_text(b"[]")
