"""What a web client finds on the HTTP port: host-meta, the WebSocket and BOSH (XEP-0156, RFC 7395, XEP-0124)."""

import json
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET

import pytest

XRD = "{http://docs.oasis-open.org/ns/xri/xrd-1.0}"
RELATION = "urn:xmpp:alt-connections:websocket"
BOSH = "urn:xmpp:alt-connections:xbosh"


@pytest.fixture(autouse=True)
def only_with_host_meta(server):
    if "host-meta" in server.lacks:
        pytest.skip(f"{server.name} has no host-meta")


def get(server, path):
    address = f"http://{server.host}:{server.http_port}{path}"
    request = urllib.request.Request(address, headers={"Host": f"{server.domain}:{server.http_port}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer, answer.read()


def test_host_meta_tells_where_the_websocket_is(server):
    answer, body = get(server, "/.well-known/host-meta")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    links = {link.get("rel"): link.get("href") for link in ET.fromstring(body).iter(f"{XRD}Link")}
    assert links[RELATION].endswith("/xmpp-websocket")
    assert links[BOSH].endswith("/http-bind")


def test_host_meta_tells_it_in_json_too(server):
    answer, body = get(server, "/.well-known/host-meta.json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    links = {link["rel"]: link["href"] for link in json.loads(body)["links"]}
    assert links[RELATION].endswith("/xmpp-websocket")
    assert links[BOSH].endswith("/http-bind")


def test_what_is_not_there_is_not_found(server):
    with pytest.raises(urllib.error.HTTPError) as failure:
        get(server, "/no/such/page")
    assert failure.value.code == 404
