"""What clients ask of the platform, and how they get it wrong."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers, QueryParams

from server.api.errors import Refused
from server.api.headers import lifetime, read_wishes
from server.jobs.model import Priority


def wishes(query="", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_wishes(Headers(named), QueryParams(query))


def test_nothing_asked_is_nothing_special():
    """Most calls carry none of them."""
    plain = wishes()

    assert (Priority.NORMAL, True) == (plain.priority, plain.retry)
    assert [None] * 6 == [
        plain.preview_every,
        plain.start_within,
        plain.output_ttl,
        plain.idempotency_key,
        plain.webhook,
        plain.max_queue_length,
    ]


@pytest.mark.parametrize("value", ["normal", "Normal", ""])
def test_javascript_always_sends_the_normal_priority(value):
    """Only `low` changes anything."""
    assert Priority.NORMAL == wishes(x_fal_queue_priority=value).priority


@pytest.mark.parametrize(
    ("value", "retry"),
    [("1", False), ("true", False), ("YES", False), ("0", True), ("false", True), ("", True)],
)
def test_retries_can_be_declined(value, retry):
    """A job that costs an hour may not be wanted twice."""
    assert retry == wishes(x_fal_no_retry=value).retry


def test_the_newer_name_of_the_deadline_counts_more():
    """SDKs send the older one; the platform's reference calls it legacy."""
    both = wishes(x_fal_request_timeout="30.0", x_fal_request_start_timeout="20")

    assert 20.0 == both.start_within
    assert 30.0 == wishes(x_fal_request_timeout="30.0").start_within


@pytest.mark.parametrize(
    "headers",
    [
        {"x_fal_queue_priority": "high"},
        {"x_fal_no_retry": "maybe"},
        {"x_fal_request_timeout": "soon"},
        {"x_fal_request_timeout": "nan"},
        {"x_fal_request_timeout": "inf"},
        {"x_fal_request_timeout": "0.1"},
        {"x_fal_request_timeout": "-5"},
        {"x_fal_request_start_timeout": ""},
        {"x_fal_object_lifecycle_preference": "1h"},
        {"x_fal_object_lifecycle_preference": "[]"},
        {"x_fal_object_lifecycle_preference": '{"expiration_duration_seconds":"1h"}'},
        {"x_fal_object_lifecycle_preference": '{"expiration_duration_seconds":true}'},
        {"x_fal_object_lifecycle_preference": '{"expiration_duration_seconds":0}'},
        {"x_fal_object_lifecycle_preference": '{"expiration_duration_seconds":NaN}'},
        {"idempotency_key": "a" * 256},
        {"idempotency_key": "a\tb"},
        {"query": "fal_max_queue_length=-1"},
        {"query": "fal_max_queue_length=many"},
        {"query": "fal_max_queue_length="},
        {"query": "fal_webhook=ftp://host/"},
        {"query": "fal_webhook=file:///etc/passwd"},
        {"query": "fal_webhook=http://"},
        {"query": "fal_webhook=http://host:99999/"},
        {"query": "fal_webhook=http://[::1/"},
        {"query": "fal_webhook=hook"},
        {"query": "fal_webhook=http://host/" + "a" * 2048},
        {"query": "fal_webhook=http://host/%0d%0aX:y"},
    ],
)  # fmt: skip
def test_a_malformed_wish_is_a_bad_request(headers):
    """400 `bad_request`, as the platform says: to guess would be to do something else."""
    with pytest.raises(Refused) as refused:
        wishes(**headers)

    assert 400 == refused.value.status
    assert "bad_request" == refused.value.body["error_type"]


def test_an_idempotency_key_has_two_names():
    """Both are in use."""
    assert "a" == wishes(idempotency_key="a").idempotency_key
    assert "b" == wishes(x_idempotency_key="b").idempotency_key


def test_a_lifetime_may_come_with_more_or_without():
    """JavaScript adds access rules; `never` has no duration."""
    name = "x-fal-object-lifecycle"
    text = '{"expiration_duration_seconds":60,"initial_acl":{"default":"allow"}}'

    assert 60.0 == lifetime(Headers({name: text}), name)
    assert lifetime(Headers({name: '{"expiration_duration_seconds":null}'}), name) is None
    assert lifetime(Headers({name: "{}"}), name) is None
    assert lifetime(Headers({}), name) is None
    assert 60.0 == lifetime(Headers({name: text}), "x-other", name)


@pytest.mark.parametrize(("value", "steps"), [("0", 0), ("5", 5), ("1000", 1000)])
def test_previews_are_asked_for_in_steps(value, steps):
    """0 turns them off where the server has them on."""
    assert steps == wishes(x_wan_preview=value).preview_every


@pytest.mark.parametrize("value", ["", "-1", "1001", "2.5", "yes", "٣", "9" * 5000])
def test_a_strange_number_of_steps_is_refused(value):
    """With the name of the header, as it is not one of fal's."""
    with pytest.raises(Refused) as refused:
        wishes(x_wan_preview=value.encode().decode("latin-1"))

    assert 400 == refused.value.status
    assert "X-Wan-Preview must be a number of steps" in refused.value.body["detail"]
