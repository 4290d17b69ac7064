# SPDX-License-Identifier: MIT
"""Disks that lie, fail or are full, for a node of a Cluster.

`ShimDisk` puts disk_shim.c between the node and its files; `SmallDisk` gives it a file system of a
few MiB, in a mount namespace of its own, which ends with the holder.
"""

import os
import subprocess


class ShimDisk:
    """honest: what was synced is kept; lie: nothing of it is; fail: syncs fail; slow: each takes 50 ms;
    read-only: nothing can be written any more."""

    def __init__(self, cluster, node, library):
        if not library.is_file():  # the loader only grumbles, and the disk would be an honest one
            raise FileNotFoundError(f"{library}: there is none in a release build; use another one")
        self.cluster, self.node = cluster, node
        self.control = cluster.folder / f"disk-{node}"
        self.set("honest")
        cluster.wrappers[node] = ["env", f"LD_PRELOAD={library.absolute()}",
                                  f"CHORD_DISK_CONTROL={self.control}"]

    def set(self, mode):
        fresh = self.control.with_suffix(".new")
        fresh.write_text(mode, encoding="ascii")
        fresh.rename(self.control)

    def power_cut(self):
        """Kills the node; its files become what they were at their last honest sync, in their place:
        a new file with the old bytes would be a copy."""
        self.cluster.kill(self.node)
        folder = self.cluster.node_folder(self.node)
        for path in folder.glob("chord.db*"):
            kept = path.with_name(path.name + ".synced")
            if path.suffix not in (".synced", ".syncing") and not kept.exists():
                path.unlink()
        for kept in folder.glob("chord.db*.synced"):
            (folder / kept.name.removesuffix(".synced")).write_bytes(kept.read_bytes())


class SmallDisk:
    def __init__(self, cluster, node, size):
        folder = cluster.node_folder(node)
        folder.mkdir(parents=True)
        root = os.geteuid() == 0
        self.holder = subprocess.Popen(
            ["unshare", "--mount", *([] if root else ["--user", "--map-root-user"]), "sh", "-c",
             'mount -t tmpfs -o "size=$1,mode=700" none "$2" && echo ready && exec sleep 3600', "holder",
             size, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            raise OSError(f"no small disk: {self.holder.stderr.read().strip()}")
        self.folder = folder
        self.words = ["nsenter", "--target", str(self.holder.pid), "--mount",
                      *([] if root else ["--user", "--preserve-credentials"])]
        cluster.wrappers[node] = self.words

    def resize(self, size):
        subprocess.run([*self.words, "mount", "-o", f"remount,size={size}", "none",
                        str(self.folder)], check=True)

    def read_only(self):
        """Not while the node runs: what it has open for writing keeps it."""
        subprocess.run([*self.words, "mount", "-o", "remount,ro", "none", str(self.folder)], check=True)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        self.holder.stderr.close()
