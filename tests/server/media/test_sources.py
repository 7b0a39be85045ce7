import json

import pytest

from server.media.sources import Need, Source, provisional, restored_sources, stored_sources
from wan_local.geometry import Size
from wan_local.media import MediaInfo
from wan_local.plan import SourceFile

IMAGE = Need("https://example.com/a.png", "image", "image_url")
LORA = Need("someone/a-lora", "lora", "loras.1.path")


def test_an_error_can_point_at_the_field_and_at_one_of_a_list():
    """Clients mark the field that `loc` names; a number is an index there and not a name."""
    assert ("body", "image_url") == IMAGE.loc
    assert ("body", "loras", 1, "path") == LORA.loc


def test_every_kind_of_need_has_something_to_try_a_plan_with():
    """A plan that can never succeed is refused at submission, before anything is fetched."""
    video = Need("https://example.com/a.mp4", "video", "video_url")

    sources = provisional([IMAGE, video, LORA])

    assert MediaInfo(kind="image", size=Size(1280, 720)) == sources[IMAGE.url].info
    assert (81, 16.0) == (sources[video.url].info.num_frames, sources[video.url].info.fps)
    assert sources[LORA.url].info is None


def test_sources_come_back_from_json_as_they_were():
    """They are kept with the job, so that a restarted server fetches nothing twice."""
    sources = {
        IMAGE.url: Source("/data/a", "a" * 64, MediaInfo(kind="image", size=Size(30, 20))),
        LORA.url: Source("/data/b", "b" * 64),
    }

    stored = json.loads(json.dumps(stored_sources(sources)))

    assert sources == restored_sources(stored, [IMAGE, LORA])


def test_a_data_uri_is_not_stored_a_second_time():
    """It is in the job's input already, and may be tens of megabytes long."""
    need = Need("data:image/png;base64," + "A" * 10_000, "image", "image_url")

    assert len(json.dumps(stored_sources(provisional([need])))) < 1_000


def test_a_source_that_was_never_stored_is_missed():
    """A job must not reach the engine with less than it needs."""
    with pytest.raises(KeyError):
        restored_sources({}, [IMAGE])


def test_a_plan_knows_a_source_by_path_and_hash():
    """The engine never learns where it came from."""
    source = Source("/data/a", "a" * 64)

    assert SourceFile(path="/data/a", sha256="a" * 64) == source.file


@pytest.mark.parametrize("order", [1, -1])
def test_a_url_that_is_picture_and_lora_can_be_tried_as_a_picture(order):
    """The planner asks for its size; that it cannot be both is found out when it is fetched."""
    both = [IMAGE, Need(IMAGE.url, "lora", "loras.0.path")][::order]

    assert Size(1280, 720) == provisional(both)[IMAGE.url].picture.size
