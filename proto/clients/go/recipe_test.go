// SPDX-License-Identifier: MIT

package chord

import (
	"testing"

	"chord.example/dht/chordv1"
)

var (
	old   = Version{3, 7}
	newer = Version{3, 9}
)

func writer(attempt uint32, maybe bool) recipe {
	return recipe{writes: true, maybe: maybe, attempt: attempt, seen: old, id: opID{1}}
}

// The table of proto/README.md ("Writing"), for attempt 1 and a later one.
func TestEachCodeToAWrite(t *testing.T) {
	wanted := map[Code]next{
		Cancelled: later, Unknown: later, DeadlineExceeded: later, ResourceExhausted: later,
		OutOfRange: later, Unavailable: later, WrongRing: later, Challenge: later, Aborted: later,
	}
	for _, row := range fates(t) {
		code := Code(chordv1.Code_value["CODE_"+row[0]])
		for _, before := range []recipe{writer(1, false), writer(3, true)} {
			after := before
			next := after.take(outcome{code: code})
			if code == DataLoss && before.attempt == 1 { // its own test
				continue
			}
			if next != wanted[code] {
				t.Errorf("%v to %+v: next %v", code, before, next)
			}
			maybe := row[1] == "maybe done"
			attempt := before.attempt
			if maybe {
				attempt++
			}
			if after.attempt != attempt || after.maybe != (before.maybe || maybe) || after.seen != old || after.id != before.id {
				t.Errorf("%v to %+v: %+v", code, before, after)
			}
		}
	}
}

func TestEachCodeToARead(t *testing.T) {
	for _, row := range fates(t) {
		code := Code(chordv1.Code_value["CODE_"+row[0]])
		read := newRecipe(false, opID{})
		next := read.take(outcome{code: code})
		if (next == end) != (row[2] == "never") || read.maybe || read.attempt != 1 {
			t.Errorf("%v: next %v, %+v", code, next, read)
		}
		_, fate := read.verdict(outcome{code: code})
		if (fate == Done) != (row[1] == "done") || fate == MaybeDone {
			t.Errorf("%v: %v", code, fate)
		}
	}
}

func TestDamagedRow(t *testing.T) {
	first := writer(1, false)
	if next := first.take(outcome{code: DataLoss}); next != atOnce || first.seen != (Version{}) || first.attempt != 1 {
		t.Errorf("next %v, %+v", next, first)
	}
	if next := first.take(outcome{code: DataLoss}); next != end { // it has a condition
		t.Errorf("next %v, %+v", next, first)
	}
	if code, fate := first.verdict(outcome{code: DataLoss}); code != DataLoss || fate != NotDone {
		t.Errorf("%v, %v", code, fate)
	}
}

func TestAborted(t *testing.T) {
	first := writer(1, false)
	if next := first.take(outcome{code: Aborted, version: newer}); next != atOnce || first.seen != newer || first.attempt != 1 || first.maybe {
		t.Error("attempt 1: again at once, with what was told", next, first)
	}
	// A node that tells nothing new would be asked in a loop.
	if next := first.take(outcome{code: Aborted, version: newer}); next != later || first.seen != newer {
		t.Error("the same version once more: after a pause", next, first)
	}
	second := writer(2, true)
	if next := second.take(outcome{code: Aborted, version: newer}); next != later || second.seen != old {
		t.Error("attempt 2 was sent: seen stays", next, second)
	}
	if code, fate := first.verdict(outcome{code: Aborted, version: newer}); code != Unavailable || fate != NotDone {
		t.Error(code, fate)
	}
}

func TestUnknownWithAVersionIsFinal(t *testing.T) {
	r := writer(2, true)
	o := outcome{code: Unknown, version: newer}
	if next := r.take(o); next != end || r.seen != old {
		t.Error(next, r)
	}
	if code, fate := r.verdict(o); code != Unknown || fate != MaybeDone {
		t.Error(code, fate)
	}
}

func TestWithoutAnAnswer(t *testing.T) {
	for _, code := range []Code{DeadlineExceeded, Unknown, Internal, WrongRing} {
		r := writer(1, false)
		o := outcome{code: code, by: unsettled}
		if next := r.take(o); next != later || r.attempt != 2 || !r.maybe || r.seen != old {
			t.Errorf("%v: sent, and no answer: %v %+v", code, next, r)
		}
		if code, fate := r.verdict(o); code != Unknown || fate != MaybeDone {
			t.Error(code, fate)
		}
	}
	for _, code := range []Code{Unavailable, Unknown} {
		r := writer(1, false)
		if next := r.take(outcome{code: code, by: unsent}); next != later || r.attempt != 1 || r.maybe {
			t.Error("no connection: the same attempt again", next, r)
		}
	}
	r := writer(1, false)
	if next := r.take(outcome{code: Unauthenticated, by: unsettled}); next != end || !r.maybe {
		t.Error("a wrong mac: another key, but who knows what was done", next, r)
	}
}

func TestVerdict(t *testing.T) {
	for _, one := range []struct {
		recipe recipe
		last   outcome
		code   Code
		fate   Fate
	}{
		{writer(1, false), outcome{code: OK}, OK, Done},
		{writer(2, true), outcome{code: OK}, OK, Done},
		{writer(2, true), outcome{code: NotFound}, NotFound, Done},
		{writer(1, false), outcome{code: FailedPrecondition}, FailedPrecondition, NotDone},
		// An earlier attempt may be why the condition does not hold.
		{writer(2, true), outcome{code: FailedPrecondition}, Unknown, MaybeDone},
		{writer(2, true), outcome{code: Unavailable, by: unsent}, Unknown, MaybeDone},
		{writer(1, false), outcome{code: Unavailable, by: unsent}, Unavailable, NotDone},
		{newRecipe(false, opID{}), outcome{code: DeadlineExceeded, by: unsettled}, DeadlineExceeded, NotDone},
		{newRecipe(false, opID{}), outcome{code: Unknown, by: unsettled}, Unavailable, NotDone},
	} {
		if code, fate := one.recipe.verdict(one.last); code != one.code || fate != one.fate {
			t.Errorf("%+v %+v: %v, %v", one.recipe, one.last, code, fate)
		}
	}
}

// A version counts as seen up to the epoch that the range is known to have come to.
func TestWantedVersionAsSeen(t *testing.T) {
	for _, row := range []struct {
		wanted Version
		epoch  uint64
		seen   Version
	}{{newer, 3, newer}, {newer, 2, old}, {Version{3, 1}, 3, old}, {Version{900, 1}, 3, old}} {
		one := pending{recipe: writer(1, false), Operation: Operation{ifVersion: &row.wanted}}
		one.begin(old, row.epoch)
		if one.recipe.seen != row.seen {
			t.Errorf("%+v: %+v", row, one.recipe.seen)
		}
	}
}
