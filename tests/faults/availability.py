# SPDX-License-Identifier: MIT
"""How long clients missed a key: from a fault to the first attempt that was made after it and that
the ring answered. For single faults, of the keys that the victim led."""

import math


SERVED = ("OK", "NOT_FOUND", "FAILED_PRECONDITION", "ABORTED")


def after_fault(attempts, leaders, fault, address, end_us):
    """{key: milliseconds} for the keys that `address` led when the fault struck. A key counts as
    missed until somebody asks for it again, so the figures of keys are too high by that; the least
    of them is the range's."""
    first = {key: end_us for key, leader in leaders.items() if leader == address}
    for key, sent, returned, _, code in attempts:
        if key in first and sent >= fault.struck_us and code in SERVED:
            first[key] = min(first[key], returned)
    return {key: (moment - fault.began_us) / 1000 for key, moment in first.items()}


def percentile(values, share):
    """The smallest of the values that `share` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0


def summary(values):
    return {"count": len(values), "p50": round(percentile(values, 0.5)),
            "p99": round(percentile(values, 0.99)), "max": round(max(values, default=0))}
