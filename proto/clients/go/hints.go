// SPDX-License-Identifier: MIT

package chord

import (
	"crypto/sha1"
	"sort"
	"sync"
)

// What answers have told of the ring's ranges: who leads them, and the newest version in them. A
// wrong hint costs one hop and nothing else, since the node that is asked forwards.

const hintsMax = 4096

// place is a point on the ring: an integer of M bits as ceil(M/8) big-endian bytes, so that places
// compare as strings do.
type place string

// placeOf is the place of a key: the top m bits of its SHA-1.
func placeOf(key string, m uint32) place {
	hash := sha1.Sum([]byte(key))
	drop := 8*sha1.Size - int(m)
	kept := hash[:sha1.Size-drop/8]
	if bits := drop % 8; bits > 0 {
		for i := len(kept) - 1; i >= 0; i-- {
			kept[i] >>= bits
			if i > 0 {
				kept[i] |= kept[i-1] << (8 - bits)
			}
		}
	}
	return place(kept)
}

// span is a range of places: (lo, hi], clockwise; lo == hi is the whole ring.
type span struct {
	lo, hi place
}

func (s span) has(at place) bool {
	if s.lo < s.hi {
		return s.lo < at && at <= s.hi
	}
	return at > s.lo || at <= s.hi
}

func (s span) overlaps(other span) bool {
	return s.has(other.hi) || other.has(s.hi)
}

type hint struct {
	span
	epoch   uint64
	address string  // of the leader; empty: it did not answer
	seen    Version // the newest version heard of the range
}

// hints is a bounded cache, safe for many goroutines.
type hints struct {
	lock    sync.RWMutex
	entries []hint // by hi; no two overlap
}

// index of the entry that a place lies in; -1: none. With the lock held.
func (h *hints) index(at place) int {
	if len(h.entries) == 0 {
		return -1
	}
	i := sort.Search(len(h.entries), func(i int) bool { return h.entries[i].hi >= at })
	i %= len(h.entries) // after the last hi comes the range that passes 0
	if !h.entries[i].has(at) {
		return -1
	}
	return i
}

// find gives what is known of a place: the leader's address (empty: not known), the newest version
// heard, and the range it lies in (none: empty).
func (h *hints) find(at place) hint {
	h.lock.RLock()
	defer h.lock.RUnlock()
	if i := h.index(at); i >= 0 {
		return h.entries[i]
	}
	return hint{}
}

// learn takes in what a node said of a range. A newer word replaces what it overlaps, but not what
// has a higher epoch.
func (h *hints) learn(told hint) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if i := h.index(told.hi); i >= 0 && h.entries[i].span == told.span && h.entries[i].epoch == told.epoch {
		h.entries[i].address = told.address
		h.entries[i].hear(told.seen)
		return
	}
	for _, entry := range h.entries {
		if entry.epoch > told.epoch && entry.overlaps(told.span) {
			return
		}
	}
	kept := h.entries[:0]
	for _, entry := range h.entries {
		if !entry.overlaps(told.span) {
			kept = append(kept, entry)
		}
	}
	h.entries = kept
	if len(kept) < hintsMax {
		h.insert(told)
	}
}

func (h *hints) insert(told hint) {
	at := sort.Search(len(h.entries), func(i int) bool { return h.entries[i].hi >= told.hi })
	h.entries = append(h.entries, hint{})
	copy(h.entries[at+1:], h.entries[at:])
	h.entries[at] = told
}

func (h *hint) hear(version Version) {
	if version.newerThan(h.seen) {
		h.seen = version
	}
}

// hear takes in a version of a key at that place.
func (h *hints) hear(at place, version Version) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if i := h.index(at); i >= 0 {
		h.entries[i].hear(version)
	}
}

// forget that this address leads the place: it says that it cannot.
func (h *hints) forget(at place, address string) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if i := h.index(at); i >= 0 && h.entries[i].address == address {
		h.entries[i].address = "" // what was seen stays true
	}
}

// forgetAddress: nobody answers there.
func (h *hints) forgetAddress(address string) {
	h.lock.Lock()
	defer h.lock.Unlock()
	for i := range h.entries {
		if h.entries[i].address == address {
			h.entries[i].address = ""
		}
	}
}
