# SPDX-License-Identifier: MIT
"""DATA_DIR/ring.json: what the supervisor remembers of the ring that it ran, {"ring_id", "members"}.

It is no part of the ring and decides nothing there. It is asked before a start that would make a
new ring (somebody may have taken the databases away), and before data is put beside another ring.
"""

import json
import sqlite3

from . import datadir

NAME = "ring.json"
MEMBERS_MAX = 64


def recall(data_dir):
    """{"ring_id": text, "members": [address, ...]}; empty values when nothing is remembered."""
    try:
        with datadir.open_private(data_dir / NAME, "r") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):
        found = {}
    found = found if isinstance(found, dict) else {}
    members = found.get("members")
    return {"ring_id": str(found.get("ring_id") or ""),
            "members": [str(member) for member in members] if isinstance(members, list) else []}


class Memory:
    """Writes the file when what it would say has changed."""

    def __init__(self, data_dir):
        self.data_dir = data_dir
        self.known = recall(data_dir)

    def note(self, ring):
        """ring: the answer of GET /ring."""
        if not ring or not ring.get("ring_id"):
            return
        members = [node["address"] for node in ring.get("nodes", [])
                   if node.get("state") == "member" and node.get("address")]
        now = {"ring_id": ring["ring_id"], "members": sorted(members)[:MEMBERS_MAX]}
        if members and now != self.known:
            self.known = now
            self.write()

    def write(self):
        """Also when somebody has removed the whole folder: the next start must hear of it."""
        if not self.known["ring_id"]:
            return
        try:
            self.data_dir.mkdir(mode=0o700, exist_ok=True)
            datadir.replace_file(self.data_dir / NAME, json.dumps(self.known) + "\n")
        except OSError:
            pass  # a full disk: the nodes and the gateway tell

    def write_if_gone(self):
        if not (self.data_dir / NAME).exists():
            self.write()


def gateway_members(data_dir):
    """How many members the gateway saved at its last run."""
    path = data_dir / "gateway.db"
    if not path.is_file():
        return 0
    try:
        database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            return database.execute("SELECT count(*) FROM member").fetchone()[0]
        finally:
            database.close()
    except sqlite3.Error:
        return 0


def witnesses(settings, slots_known):
    """Who on this host remembers a ring, as words."""
    data_dir = settings["DATA_DIR"]
    found = []
    supervisor = recall(data_dir)
    if supervisor["ring_id"]:
        found.append(f"{NAME}: ring {supervisor['ring_id']} with "
                     f"{len(supervisor['members'])} members")
    elif (data_dir / "slots").exists():
        found.append("slots: nodes ran here")
    if count := gateway_members(data_dir):
        found.append(f"gateway.db: {count} members")
    if slots_known:
        found.append("folders of nodes " + ", ".join(map(str, slots_known)))
    return found
