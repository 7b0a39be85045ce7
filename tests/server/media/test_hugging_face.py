"""Repositories of the hub, found in the cache that its own tool fills."""

from __future__ import annotations

import json

import pytest

from server.media.hugging_face import HubFile
from wan_local.errors import LoraRefused

REPO = "lightx2v/Wan2.2-Lightning"


def a_cache(folder, *files, repo=REPO, commit="c" * 40):
    """Build what `hf download` leaves."""
    home = folder / f"models--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    for number, file in enumerate(files):
        blob = home / "blobs" / str(number)
        blob.parent.mkdir(exist_ok=True)
        blob.write_text(file)
        link = home / "snapshots" / commit / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return folder


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (REPO, HubFile(REPO, None)),
        (f"{REPO}/Seko-V1/high.safetensors", HubFile(REPO, "Seko-V1/high.safetensors")),
        (f"{REPO}@v2/a.safetensors", HubFile(REPO, "a.safetensors", "v2")),
        (f"https://huggingface.co/{REPO}", HubFile(REPO, None)),
        (
            f"https://huggingface.co/{REPO}/blob/main/Seko-V1/high.safetensors",
            HubFile(REPO, "Seko-V1/high.safetensors"),
        ),
        (
            f"https://hf.co/{REPO}/resolve/v2/a.safetensors?download=true",
            HubFile(REPO, "a.safetensors", "v2"),
        ),
        (f"{REPO}/../../etc/passwd", None),
        ("my-style", None),
        ("https://example.com/org/name", None),
        ("http://huggingface.co.example.com/a/b", None),
        ("/absolute/path", None),
    ],
)
def test_an_address_of_the_hub_is_told_from_others(address, expected):
    """Pages, downloads, and the short form that fal documents."""
    assert expected == HubFile.parse(address)


def test_a_page_becomes_its_download():
    """People copy the address of the page they look at, which is HTML."""
    page = HubFile.parse(f"https://huggingface.co/{REPO}/blob/main/a b/c.safetensors")

    assert f"https://huggingface.co/{REPO}/resolve/main/a b/c.safetensors" == page.url


def test_the_cache_answers_without_a_network(tmp_path):
    """The only way there is on a machine without one."""
    cache = a_cache(tmp_path, "one/high.safetensors", "one/low.safetensors", "README.md")

    found = HubFile(REPO, "one/low.safetensors").cached(cache)
    assert "one/low.safetensors" == found.read_text()
    assert HubFile(REPO, "two/low.safetensors").cached(cache) is None
    assert HubFile("some/other", None).cached(cache) is None
    assert HubFile(REPO, "README.md", "v9").cached(cache) is None


def test_the_only_file_needs_no_name(tmp_path):
    """Most repositories of LoRAs hold one."""
    cache = a_cache(tmp_path, "pytorch_lora_weights.safetensors", "README.md")

    assert "pytorch_lora_weights.safetensors" == HubFile(REPO, None).cached(cache).name


def test_several_files_are_listed(tmp_path):
    """As fal does: the client chooses, and not the alphabet."""
    cache = a_cache(tmp_path, *(f"{n:02}.safetensors" for n in range(12)))

    with pytest.raises(LoraRefused, match=r"weight_name: 00.*09.safetensors and 2 more"):
        HubFile(REPO, None).cached(cache)


def test_the_hub_s_list_names_the_file():
    """For a repository that is not in the cache, where the policy allows asking."""
    siblings = [{"rfilename": "README.md"}, {"rfilename": "a.safetensors"}]
    asked = []

    def read(url):
        asked.append(url)
        return json.dumps({"siblings": siblings}).encode()

    assert HubFile(REPO, "a.safetensors") == HubFile(REPO, None).named(read)
    assert [f"https://huggingface.co/api/models/{REPO}/revision/main"] == asked


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"<html>", "list of files of .* cannot be read"),
        (b'{"siblings": [1]}', "list of files of .* cannot be read"),
        (b'{"siblings": []}', "has no safetensors file"),
    ],
)
def test_an_answer_that_names_none_is_refused(answer, sentence):
    """A login page, or a repository of something else."""
    with pytest.raises(LoraRefused, match=sentence):
        HubFile(REPO, None).named(lambda _: answer)


def test_a_name_that_no_file_system_takes_is_not_in_the_cache(tmp_path):
    """It once was an internal error, and only where the repository was in the cache."""
    cache = a_cache(tmp_path, "a.safetensors")

    assert HubFile(REPO, "a" * 300).cached(cache) is None
