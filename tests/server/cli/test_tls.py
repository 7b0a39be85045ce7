import json
import shlex
import ssl

from typer.testing import CliRunner

from server.certificates import find_certificates
from server.cli import app


def run(tmp_path, *arguments):
    return CliRunner().invoke(app, ["tls", *arguments, "--data-dir", str(tmp_path)])


def test_the_printed_lines_name_the_authority_to_trust(tmp_path):
    """Somebody pastes the lines into a shell: the path in them must be one that TLS can load."""
    lines = run(tmp_path, "gpu-box.lan").output.splitlines()
    exports = dict(
        shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export")
    )

    assert "gpu-box.lan:8943/queue" == exports["FAL_QUEUE_RUN_HOST"]
    assert "gpu-box.lan:8943/run" == exports["FAL_RUN_HOST"]
    assert ssl.create_default_context(cafile=exports["SSL_CERT_FILE"]).get_ca_certs()


def test_the_certificate_covers_the_names_that_were_asked_for(tmp_path):
    """A name that is missing is found out by the clients, as a failure they cannot read."""
    made = json.loads(run(tmp_path, "gpu-box.lan", "192.0.2.7", "--json").output)

    assert {"gpu-box.lan", "192.0.2.7", "127.0.0.1"} <= set(made["hosts"])
    assert set(made["hosts"]) == set(find_certificates(tmp_path / "tls").hosts)


def test_a_name_that_is_none_is_a_usage_error(tmp_path):
    """A URL is the usual slip."""
    result = run(tmp_path, "https://gpu-box.lan")

    assert 2 == result.exit_code
    assert "https://gpu-box.lan" in result.stderr
