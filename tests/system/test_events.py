# SPDX-License-Identifier: MIT
"""Server-sent events of the ring and of a node."""

import json

from ring import SANITIZED


class Stream:
    def __init__(self, gateway, query="", **headers):
        self.connection = gateway.connect(timeout=20)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("GET", "/api/v1/events" + query, headers=headers)
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def next(self, *kinds):
        event = {}
        while True:
            line = self.response.readline().decode().rstrip("\n")
            if line == "" and "event" in event and (not kinds or event["event"] in kinds):
                return event["event"], json.loads(event["data"]), int(event["id"])
            if line == "":
                event = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value

    def close(self):
        self.response.close()
        self.connection.close()


def test_events(gateway):
    stream = Stream(gateway)
    assert stream.response.headers["Content-Type"] == "text/event-stream"
    kind, ring, _ = stream.next()
    assert kind == "ring"
    while not ring["nodes"]:  # the picture may be from before the node started
        _, ring, _ = stream.next("ring")
    assert ring["nodes"][0]["address"] == gateway.address()
    gateway.upload("k,v\ne1,1\n", "?id=seen-in-events")
    kind, data, number = stream.next("import")
    while data["state"] != "done":
        kind, data, number = stream.next("import")
    assert data["id"] == "seen-in-events" and data["rows_stored"] == 1
    stream.close()
    gateway.upload("k,v\ne2,2\n", "?id=missed-meanwhile")
    stream = Stream(gateway, Last_Event_ID=str(number))
    assert stream.next("import")[1]["id"] == "missed-meanwhile"
    stream.close()


def test_node_events(own):
    gateway = own().start_node()
    stream = Stream(gateway)
    stream.next("ring")
    gateway.nodes[1].kill()
    gateway.nodes[1].wait()
    kind, data, number = stream.next("node.down")
    assert data["address"] == gateway.address() and data["text"]
    gateway.start_node()
    assert stream.next("node.back")[1]["address"] == gateway.address()
    stream.close()
    gateway.stop()  # what happened is remembered over a restart
    gateway.start()
    stream = Stream(gateway, Last_Event_ID=str(number))
    assert stream.next("node.back")[1]["address"] == gateway.address()
    stream.close()


def test_stream_limit(own):
    gateway = own().start_node()
    streams = [Stream(gateway) for _ in range(16)]
    assert all(stream.status == 200 for stream in streams)
    refused = Stream(gateway)
    assert refused.status == 503 and refused.response.headers["Retry-After"]
    refused.close()
    assert gateway.get("/api/v1/ring").status == 200
    assert gateway.stop() < (8 if SANITIZED else 2)
    for stream in streams:
        stream.close()
    gateway.start()
