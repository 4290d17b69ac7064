# SPDX-License-Identifier: MIT
"""The runs of the models of the view change: what must hold, which seeded defects must be caught.

Plain data for run.py. CHECKS: name, model, defines of the small bound, of the full bound (None: the
small one is enough). MUTANTS: name, rule of the protocol, what is broken, (model, live, defines).
"""


def defines(text):
    return [f"-D{word}" for word in text.split()]


OWNER = defines("OWNER N=3 EPOCHS=3")
SETTLED_TWICE = defines("OWNER N=3 EPOCHS=4 WRITES=2 CRASHES=0")
HEARD = defines("HEARD OWNER QUIET N=3 EPOCHS=3 WRITES=1 CRASHES=0")
PULLS = defines("OWNER REMOVE MOVE N=3 EPOCHS=4 WRITES=1 CRASHES=0")
REPLACE = defines("REPLACE N=4 EPOCHS=3 CRASHES=0")
MEMBER = defines("REPLACE OWNER N=4 EPOCHS=3")
SHRINK = defines("REMOVE ADD MOVE QUIET FORGET N=3 EPOCHS=3 CRASHES=0")
FORGET = defines("REMOVE ADD MOVE QUIET FORGET N=3 EPOCHS=4 CRASHES=0")
RETURNER = defines("ADD MOVE QUIET FORGET RETURNER N=3 START=3 EPOCHS=3 CRASHES=0")
DECIDE = defines("BALLOTS=1")
RETRY = defines("EPOCHS=2")
SEATS = defines("BALLOTS=2")
SEATS_ROWS = defines("ROWS BALLOTS=1")
SEATS_LEADER = defines("ROWS BALLOTS=1 LEADER=2")
SEATS_WRITES = defines("ROWS BALLOTS=1 LEADER=2 WRITES=2")

CHECKS = [
    ("views: owner changes", "views", OWNER, defines("OWNER N=3 EPOCHS=3 WRITES=3")),
    ("views: the best copy's word", "views", HEARD, defines("HEARD OWNER QUIET N=3 EPOCHS=4 CRASHES=0")),
    ("views: member changes", "views", REPLACE, defines("REPLACE OWNER N=4 EPOCHS=3 CRASHES=0")),
    ("views: split, seen from one key", "views", defines("REPLACE ADD MOVE N=4 EPOCHS=2"), None),
    ("views: shrink and grow", "views", SHRINK, FORGET),
    ("views: shrink from four to one", "views", defines("REMOVE N=4 START=15 EPOCHS=3 CRASHES=0"),
     defines("REMOVE N=4 START=15 EPOCHS=4 CRASHES=0")),
    ("views: a returner after Forget", "views", RETURNER, None),
    ("views: one decision, joint merge", "views_paxos", DECIDE, None),
    ("views: retried operations", "views_ops", RETRY, None),
    ("views: a copied disk", "views_seats", SEATS, None),
    ("views: a copied disk, rows", "views_seats", SEATS_ROWS, defines("ROWS BALLOTS=1 WRITES=2")),
    ("views: a copied disk of the leader", "views_seats", SEATS_LEADER, SEATS_WRITES),
]

MUTANTS = [
    ("SKIP_SETTLE", "settle", "a new leader serves at once", ("views", False, OWNER)),
    ("SETTLE_UNSWITCHED", "settle", "reads stores that have not switched", ("views", False, OWNER)),
    ("SETTLE_WITHOUT_SELF", "settle", "a majority without the leader", ("views", False, OWNER)),
    ("SETTLE_BY_VERSION", "settle", "the greatest version, whatever was settled before",
     ("views", False, SETTLED_TWICE)),
    ("SETTLE_BETTER_UNREAD", "settle", "goes by the word of a copy that it has not read",
     ("views", False, HEARD)),
    ("SETTLE_PULLS_ON", "settle", "pulls on while a majority is made equal",
     ("views", False, PULLS)),
    ("RESTARTED_LEADS", "restart", "a restarted leader keeps its epoch", ("views", False, OWNER)),
    ("READ_WITHOUT_CHECK", "read", "no Check", ("views", False, OWNER)),
    ("ACK_BEFORE_STORED", "write", "acks leave before STORED", ("views", False, OWNER)),
    ("OWN_STORE_IGNORED", "write", "done before the leader's own store has it",
     ("views", False, OWNER)),
    ("APPLY_ANY_EPOCH", "write", "Apply of an older epoch is taken", ("views", False, OWNER)),
    ("COMMIT_AFTER_ACCEPT", "change", "writes go on after the first Accept",
     ("views", False, MEMBER)),
    ("READ_AFTER_ACCEPT", "change", "reads begin after the first Accept", ("views", False, MEMBER)),
    ("LEARNER_INCOMPLETE", "change", "the learner lacks rows", ("views", False, MEMBER)),
    ("CHANGE_UNSETTLED", "change", "members change in an unsettled range",
     ("views", False, MEMBER)),
    ("CHANGE_IN_FLIGHT", "change", "no pause before the decision", ("views", False, MEMBER)),
    ("NEXT_MAJORITY_LACKS", "change", "a majority of the next view lacks rows",
     ("views", False, SHRINK)),
    ("EPOCH_FORGOTTEN", "memory", "a store forgets the epoch of what it gave up",
     ("views", False, MEMBER)),
    ("FORGET_EARLY", "Forget", "not all members hold the tombstone", ("views", False, FORGET)),
    ("FORGET_SAME_EPOCH", "Forget", "in the tombstone's own epoch", ("views", False, RETURNER)),
    ("RETURNER_MERGED", "returner", "its rows are merged by maximum", ("views", False, RETURNER)),
    ("MERGE_IN_ONE", "merge", "accepted in one instance only", ("views_paxos", False, DECIDE)),
    ("MERGE_GIVEN_UP", "merge", "given up without proof", ("views_paxos", False, DECIDE)),
    ("FOUND_IGNORED", "Paxos", "an accepted value is ignored", ("views_paxos", False, DECIDE)),
    ("BALLOT_0_TWICE", "Paxos", "two values with ballot 0", ("views_paxos", False, DECIDE)),
    ("ACCEPT_NOT_STORED", "Paxos", "a restart forgets what was accepted",
     ("views_paxos", False, DECIDE)),
    ("UNSEATED_COUNTS", "seats", "a copy's vote counts like the original's",
     ("views_seats", False, SEATS)),
    ("SAME_BALLOT", "seats", "copy and original use the same ballot", ("views_seats", False, SEATS)),
    ("MOVED_SETTLES_BY_MAJORITY", "seats", "a view with a moved seat settles by a majority",
     ("views_seats", False, SEATS_ROWS)),
    ("UNSEATED_ACKS", "seats", "a copy acknowledges writes", ("views_seats", False, SEATS_ROWS)),
    ("UNSEATED_LEADS", "seats", "the copy of a leader leads",
     ("views_seats", False, SEATS_LEADER)),
    ("BELOW_FLOOR", "retries", "a retry below the floor is executed", ("views_ops", False, RETRY)),
    ("RECORDED_RESULT", "retries", "an entry of an older epoch counts as success",
     ("views_ops", False, RETRY)),
    ("RETRY_AFTER_ATTEMPT_2", "retries", "the client goes back to attempt 1",
     ("views_ops", False, RETRY)),
    ("ATTEMPT_1_DUPLICATED", "retries", "attempt 1 arrives twice", ("views_ops", False, RETRY)),
    ("ROWS_ONLY", "retries", "settle carries rows without their op entries",
     ("views_ops", False, RETRY)),
]
