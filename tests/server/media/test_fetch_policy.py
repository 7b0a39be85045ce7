import pytest

from server.media.fetch_policy import BadRule, FetchPolicy

PUBLIC_ADDRESS = "93.184.215.14"


def policy(*lines, public=False):
    return FetchPolicy.parse(lines, public=public)


def test_by_default_nothing_is_permitted_and_no_name_looked_up():
    """Nothing reaches out unless its operator has said so; a look-up is reaching out."""
    assert not policy().permits("example.com", 443, PUBLIC_ADDRESS)
    assert not policy().names("example.com")


def test_the_internet_is_the_public_addresses_on_the_webs_ports():
    """Allowing the internet does not allow the studio."""
    internet = policy(public=True)

    assert internet.permits("example.com", 443, PUBLIC_ADDRESS)
    assert not internet.permits("example.com", 8080, PUBLIC_ADDRESS)
    for inside in ("10.0.0.5", "127.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fd00::1"):
        assert not internet.permits("example.com", 443, inside)


def test_a_network_and_its_ports():
    """As a studio writes it."""
    studio = policy("10.20.0.0/16:443,8443")

    assert studio.permits("nas", 8443, "10.20.1.1")
    assert studio.permits("nas", 443, "::ffff:10.20.1.1")
    assert not studio.permits("nas", 80, "10.20.1.1")
    assert not studio.permits("nas", 443, "10.21.1.1")
    assert not studio.permits("nas", 443, PUBLIC_ADDRESS)


def test_a_name_may_lead_into_the_studio_but_not_into_this_machine():
    """Whoever answers for the name decides where it leads, which may be somebody else one day."""
    studio = policy("nas01.studio.lan")

    assert studio.permits("NAS01.studio.lan.", 443, "10.1.2.3")
    assert not studio.permits("nas02.studio.lan", 443, "10.1.2.3")
    assert studio.names("nas01.studio.lan")
    assert not studio.names("nas02.studio.lan")
    for never in ("127.0.0.1", "169.254.169.254", "0.0.0.0", "fe80::1"):
        assert not studio.permits("nas01.studio.lan", 443, never)


def test_this_machine_takes_an_exact_line():
    """A wide network must not open it by the way."""
    assert policy("127.0.0.1:9000").permits("localhost", 9000, "127.0.0.1")
    assert policy("[::1]:9000").permits("localhost", 9000, "::1")
    assert not policy("127.0.0.0/8:9000").permits("localhost", 9000, "127.0.0.1")
    assert not policy("0.0.0.0/0").permits("metadata", 80, "169.254.169.254")


@pytest.mark.parametrize("line", ["", "nas:x", "10.0.0.0/33", "*.studio.lan"])
def test_a_line_that_means_nothing_is_said_at_the_start(line):
    """A rule that silently allows nothing would be looked for in the wrong place."""
    with pytest.raises(BadRule, match="fetch_allow"):
        policy(line)
