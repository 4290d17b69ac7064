# SPDX-License-Identifier: MIT
"""A wall clock of its own for a node of a Cluster: clock_shim.c between the node and the system's."""


class ShimClock:
    """Milliseconds ahead of the right time; may be changed while the node runs."""

    def __init__(self, cluster, node, library):
        if not library.is_file():  # the loader only grumbles, and the clock would be a right one
            raise FileNotFoundError(f"{library}: there is none in a release build; use another one")
        self.control = cluster.folder / f"clock-{node}"
        self.set(0)
        cluster.wrappers[node] = ["env", f"LD_PRELOAD={library.absolute()}",
                                  f"CHORD_CLOCK_CONTROL={self.control}"]

    def set(self, ahead_ms):
        fresh = self.control.with_suffix(".new")
        fresh.write_text(str(ahead_ms), encoding="ascii")
        fresh.rename(self.control)
