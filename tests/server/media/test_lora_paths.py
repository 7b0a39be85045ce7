"""Every spelling of where a LoRA is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from server.media.lora_library import LoraLibrary
from server.media.lora_paths import LoraFinder, civitai_download, lora_address
from tests.server.media.lora_files import a_lora
from tests.server.media.test_hugging_face import REPO, a_cache
from wan_local.errors import LoraRefused
from wan_local.models.loras.fitting import sha256_of


@dataclass(frozen=True)
class Fetched:
    path: Path
    sha256: str


@pytest.fixture
def asked():
    """URLs that were asked for."""
    return []


@pytest.fixture
def finder(tmp_path, asked):
    file = a_lora(tmp_path / "fetched.safetensors")

    def fetch(url, _max_bytes):
        asked.append(url)
        return Fetched(file, sha256_of(file))

    library = LoraLibrary(tmp_path / "library")
    library.add("my-style", a_lora(tmp_path / "style.safetensors"))
    return LoraFinder(library, (tmp_path / "studio",), tmp_path / "cache", fetch)


def test_a_name_is_looked_up(finder, tmp_path, asked):
    """The shortest way, and the only one that needs no path."""
    source = finder.find("my-style")

    assert str(tmp_path / "library" / "my-style.safetensors") == source.path
    assert sha256_of(Path(source.path)) == source.sha256
    assert [] == asked


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_path_inside_a_root_is_taken(finder, tmp_path, form):
    """A studio keeps its LoRAs on a share."""
    file = a_lora(tmp_path / "studio" / "deep" / "a.safetensors")

    assert str(file) == finder.find(form.format(file)).path


def test_a_path_outside_is_refused_like_one_that_is_not_there(finder, tmp_path):
    """Otherwise the sentence maps the disk; a link must not lead out either."""
    outside = a_lora(tmp_path / "private" / "a.safetensors")
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio" / "link.safetensors").symlink_to(outside)
    paths = [
        outside,
        tmp_path / "studio" / "gone.safetensors",
        tmp_path / "studio" / "link.safetensors",
        tmp_path / "studio" / ".." / "private" / "a.safetensors",
        tmp_path / "studio",
        "/proc/self/mem",
        "/a\0b",
    ]

    for path in paths:
        with pytest.raises(LoraRefused, match="is not a file in a folder that LoRAs may be taken"):
            finder.find(str(path))


def test_a_repository_in_the_cache_needs_no_network(finder, tmp_path, asked):
    """Air-gapped machines have nothing else."""
    a_cache(tmp_path / "cache", "a.safetensors")
    snapshot = tmp_path / "cache" / f"models--{REPO.replace('/', '--')}" / "snapshots" / ("c" * 40)
    a_lora((snapshot / "a.safetensors").resolve())

    assert str(snapshot / "a.safetensors") == finder.find(REPO).path
    assert str(snapshot / "a.safetensors") == finder.find(f"{REPO}/a.safetensors").path
    assert [] == asked


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (
            "org/name/sub/a.safetensors",
            "https://huggingface.co/org/name/resolve/main/sub/a.safetensors",
        ),
        (
            "https://huggingface.co/org/name/blob/main/a.safetensors",
            "https://huggingface.co/org/name/resolve/main/a.safetensors",
        ),
        (
            "https://civitai.com/models/12345/a-style?modelVersionId=678",
            "https://civitai.com/api/download/models/678?type=Model&format=SafeTensor",
        ),
        (
            "https://www.civitai.com/api/download/models/678",
            "https://civitai.com/api/download/models/678",
        ),
        (
            "urn:air:wan22:lora:civitai:12345@678",
            "https://civitai.com/api/download/models/678?type=Model&format=SafeTensor",
        ),
        ("https://nas.studio.lan/a.safetensors", "https://nas.studio.lan/a.safetensors"),
        ("/cdn/files/token/a.safetensors", "/cdn/files/token/a.safetensors"),
    ],
)
def test_what_is_elsewhere_is_fetched_from_where_it_is(finder, asked, address, url):
    """Through the one fetcher that knows what this server may connect to."""
    assert finder.find(address).path.endswith("fetched.safetensors")
    assert [url] == asked


def test_what_was_fetched_is_looked_at(tmp_path):
    """A login page under a LoRA's URL is the usual answer of a hub that wants a token."""
    page = tmp_path / "page"
    page.write_text("<!DOCTYPE html><title>Sign in</title>" + " " * 100)
    library = LoraLibrary(tmp_path)
    finder = LoraFinder(library, (), tmp_path, lambda *_: Fetched(page, "0" * 64))

    with pytest.raises(LoraRefused, match="it is a web page"):
        finder.find("https://civitai.com/api/download/models/1")


@pytest.mark.parametrize("address", ["no-such-name", "ftp://a/b.safetensors", "", "C:\\a", "a b"])
def test_what_is_nothing_is_answered_with_what_it_could_be(finder, address):
    """A typing error in a name."""
    with pytest.raises(LoraRefused, match="no LoRA that this server knows by name"):
        finder.find(address)


def test_a_civitai_page_without_a_version_is_refused():
    """A model has versions for other models under the same page."""
    with pytest.raises(LoraRefused, match="names no version"):
        civitai_download("https://civitai.com/models/12345")
    assert civitai_download("https://example.com/models/1") is None


@pytest.mark.parametrize(
    ("path", "weight_name", "address"),
    [
        ("org/name", "high.safetensors", "org/name/high.safetensors"),
        ("org/name/", "/sub/high.safetensors", "org/name/sub/high.safetensors"),
        (
            "https://huggingface.co/org/name",
            "a.safetensors",
            "https://huggingface.co/org/name/a.safetensors",
        ),
        ("org/name", None, "org/name"),
        ("my-style", "a.safetensors", "my-style"),
        ("https://nas/a.safetensors", "b.safetensors", "https://nas/a.safetensors"),
        (" org/name ", "", "org/name"),
    ],
)
def test_a_repository_and_a_weight_name_are_one_address(path, weight_name, address):
    """Both halves of a pair lie in one repository: by its path alone they are the same file."""
    assert address == lora_address(path, weight_name)


@pytest.mark.parametrize("address", ["https://[x", "https://[::1/a.safetensors", "//["])
def test_brackets_out_of_place_are_no_civitai_page(address):
    """They once were an internal error, where the fetcher has a sentence for them."""
    assert civitai_download(address) is None
