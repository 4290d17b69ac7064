// SPDX-License-Identifier: MIT

package chord

// The writer's recipe (proto/README.md, "Writing"): what goes with each attempt of one operation,
// and whether there is another one. It sends nothing and knows no clock.

// Version orders all writes of one key: first by Epoch, then by Counter. The zero Version is none.
type Version struct {
	Epoch, Counter uint64
}

func (v Version) newerThan(other Version) bool {
	return v.Epoch > other.Epoch || (v.Epoch == other.Epoch && v.Counter > other.Counter)
}

// IsZero reports whether there is no version.
func (v Version) IsZero() bool {
	return v == Version{}
}

type opID [16]byte

type recipe struct {
	writes  bool
	maybe   bool   // an attempt may have been carried out
	id      opID   // the same at all attempts
	attempt uint32 // of the next attempt that may be carried out: 1, 2, ...
	seen    Version
}

// answered says who gave an outcome its code.
type answered int

const (
	byNode    answered = iota
	unsent             // this side: not a byte of the request has left it
	unsettled          // this side: the request was sent, and there is no answer that can be used
)

// outcome is what became of one attempt.
type outcome struct {
	code    Code
	by      answered
	version Version // that the node told; of ABORTED and UNKNOWN the row's
}

type next int

const (
	end    next = iota // nothing more can be found out
	later              // again, after a pause
	atOnce             // again, there is nothing to wait for
)

func newRecipe(writes bool, id opID) recipe {
	return recipe{writes: writes, id: id, attempt: 1}
}

func (r *recipe) take(o outcome) next {
	facts := o.code.facts()
	switch o.by {
	case unsent:
		facts.fate = NotDone
	case unsettled:
		facts.fate = MaybeDone
		if o.code != Unauthenticated { // another ring key: it would be no better next time
			facts.again = againLater
		}
	}
	told := o.version.Epoch > 0
	if facts.again == againAtOnce && r.writes && r.attempt == 1 && told && o.version.newerThan(r.seen) {
		// The key is newer than was known here. Once a second attempt was sent, seen stays.
		r.seen = o.version
		return atOnce
	}
	if o.code == DataLoss && o.by == byNode && r.writes && r.attempt == 1 && r.seen != (Version{}) {
		// A disk has changed the row. Only a write that asks for nothing of what was there takes its
		// place; where the row is good by then, it is ABORTED.
		r.seen = Version{}
		return atOnce
	}
	if facts.fate == MaybeDone && r.writes {
		r.maybe = true
		r.attempt++
		if told {
			return end // overwritten since: nobody can find out any more
		}
	}
	if facts.again == againNever {
		return end
	}
	return later
}

// verdict is the code and the fate of all attempts together, when the last one ended with o.
func (r *recipe) verdict(o outcome) (Code, Fate) {
	facts := o.code.facts()
	if o.by == byNode && facts.fate == Done {
		return o.code, Done
	}
	// Whatever refused the last attempt, an earlier one may have been carried out; a condition may
	// have failed by it.
	if r.maybe {
		return Unknown, MaybeDone
	}
	switch {
	case o.code == Aborted: // to the end: others kept writing the key
		return Unavailable, NotDone
	case o.by == unsettled && o.code == Unknown: // a read whose connection was closed
		return Unavailable, NotDone
	}
	return o.code, NotDone
}
