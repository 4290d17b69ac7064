# SPDX-License-Identifier: MIT
"""Several hosts, as README and deploy/README.md have it: network namespaces play them."""

import json

import pytest
from tailnet_hosts import Tailnet, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture
def tailnet(tmp_path):
    made = []

    def make(count):
        made.append(Tailnet(tmp_path, count))
        return made[-1].hosts
    yield make
    for each in made:
        each.close()


def test_a_second_host_joins_with_one_command(tailnet):
    one, two, three = tailnet(3)
    one.start("--nodes", 2).wait_members(2)
    assert "http://100.64.1.1:3000" in one.said()
    # One that would make a ring of its own beside it is told so, and so is one that finds nobody.
    done = three.run(*three.init("--nodes", 1))
    assert done.returncode != 0 and "--join tailscale" in done.stderr + done.stdout
    three.tailscale_says({**three.tailnet.status(three), "Peer": {}})
    done = three.run(*three.init("--nodes", 1, "--join", "tailscale"))
    assert done.returncode != 0 and "no other host is online" in done.stderr + done.stdout
    two.start("--nodes", 2, "--join", "tailscale").wait_members(4)
    assert "host-1 (100.64.1.1:4001" in two.said()
    three.start("--nodes", 2, "--join", "100.64.1.1").wait_members(6)  # its port is found
    for host in (one, two, three):  # each gateway has the whole ring
        assert host.members() == one.members()
        assert {address.split(":")[0] for address in host.members()} == \
            {other.address for other in (one, two, three)}
        nodes = json.loads(host.ask("/api/v1/nodes")[1])["nodes"]
        assert {node["dashboard"] for node in nodes if node["address"].startswith(host.address)} == \
            {f"http://{host.address}:{3000 + slot}" for slot in (1, 2)}
