"""Where settings come from, and which one wins."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.settings import Settings, child_environment


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory and an environment without anybody's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WAN_LOCAL_SETTINGS", raising=False)


def test_the_defaults_serve_this_machine_only():
    """Nobody else can reach a server that was just installed."""
    settings = Settings()

    assert ("127.0.0.1", 8900, 8943) == (settings.host, settings.port, settings.tls_port)
    assert settings.on_loopback
    assert () == settings.cors_origins
    assert not settings.trust_forwarded


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.7", False), ("box.lan", False), ("", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(host, loopback):
    """Without a key the server answers nothing on any other address."""
    assert loopback == Settings(host=host).on_loopback


def test_flags_beat_the_environment_and_that_beats_the_file(tmp_path, monkeypatch):
    """The nearer to the person who starts it, the stronger."""
    (tmp_path / "wan-local.toml").write_text('port = 1\nmax_attempts = 5\nhost = "10.0.0.7"\n')
    monkeypatch.setenv("WAN_LOCAL_PORT", "2")
    monkeypatch.setenv("WAN_LOCAL_MAX_ATTEMPTS", "6")
    settings = Settings(port=3)

    assert (3, 6, "10.0.0.7") == (settings.port, settings.max_attempts, settings.host)


def test_the_file_may_be_elsewhere(tmp_path, monkeypatch):
    """`WAN_LOCAL_SETTINGS`, for services and containers."""
    (tmp_path / "other.toml").write_text('cors_origins = ["https://a.example"]\n')
    monkeypatch.setenv("WAN_LOCAL_SETTINGS", str(tmp_path / "other.toml"))

    assert ("https://a.example",) == Settings().cors_origins


def test_data_goes_where_the_desktop_says(monkeypatch, tmp_path):
    """XDG: backups and quotas go by it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))

    assert tmp_path / "share" / "wan-local" / "data" == Settings().data_dir
    assert tmp_path / "share" / "wan-local" / "weights" == Settings().weights_dir


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1}, {"port": 65536}, {"max_attempts": 0}, {"silence": 0}, {"device": "tpu"},
        {"max_json_bytes": 10}, {"body_timeout": -1}, {"retention_days": 0}, {"safety": "on"},
        {"safety_threshold": 1.5}, {"safety_labels": []}, {"safety_samples": 0},
        {"expansion_timeout": 0}, {"prot": 8900},
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(wrong):
    """A typing error that is passed over is found weeks later."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Settings(**wrong)


def test_an_expansion_server_has_an_address():
    """Found out at the start, and not in the log of the first job."""
    with pytest.raises(ValidationError, match="needs expansion_url"):
        Settings(expansion="openai")
    with pytest.raises(ValidationError, match="begins with http"):
        Settings(expansion="openai", expansion_url="gpu-box:11434/v1")

    assert "http://h/v1" == Settings(expansion="openai", expansion_url="http://h/v1").expansion_url


@pytest.mark.parametrize("name", ["hub_token", "civitai_token", "expansion_key"])
@pytest.mark.parametrize("token", ["schlüssel", "two words", "line\nbreak"])
def test_a_token_that_no_header_can_carry_is_refused_at_the_start(name, token):
    """Every job that sends it would fail otherwise."""
    with pytest.raises(ValidationError, match="not copied whole") as refused:
        Settings(**{name: token})

    assert token not in str(refused.value)


def test_settings_do_not_change_while_the_server_runs():
    """Each part reads them when it pleases."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_children_are_offline(monkeypatch):
    """Libraries in a GPU process would otherwise ask a hub for models on their own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("SOME_OTHER", "kept")
    environment = child_environment(CUDA_VISIBLE_DEVICES="1")

    assert ("1", "1", "1", "kept") == tuple(
        environment[name]
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "CUDA_VISIBLE_DEVICES", "SOME_OTHER")
    )
