// SPDX-License-Identifier: MIT

package chord

import (
	"fmt"
	"testing"
)

// proto/README.md: with M=6 the key `apple` (SHA-1 d0be2dc4...) has the id 52.
func TestPlaceOf(t *testing.T) {
	for m, wanted := range map[uint32]string{
		6: "34", 3: "06", 8: "d0", 9: "01a1", 16: "d0be", 32: "d0be2dc4", 33: "01a17c5b88",
	} {
		if got := fmt.Sprintf("%x", placeOf("apple", m)); got != wanted {
			t.Errorf("M=%d: %s, not %s", m, got, wanted)
		}
	}
	if len(placeOf("apple", 160)) != 20 {
		t.Error("M=160")
	}
}

func TestSpan(t *testing.T) {
	for _, one := range []struct {
		lo, hi, at string
		has        bool
	}{
		{"b", "d", "b", false}, {"b", "d", "c", true}, {"b", "d", "d", true}, {"b", "d", "e", false},
		{"d", "b", "e", true}, {"d", "b", "a", true}, {"d", "b", "b", true}, {"d", "b", "c", false},
		{"d", "b", "d", false}, {"c", "c", "c", true}, {"c", "c", "a", true},
	} {
		if (span{place(one.lo), place(one.hi)}).has(place(one.at)) != one.has {
			t.Errorf("%+v", one)
		}
	}
}

func expectHint(t *testing.T, h *hints, at, address string, seen Version) {
	t.Helper()
	if got := h.find(place(at)); got.address != address || got.seen != seen {
		t.Errorf("%s: %s %v, not %s %v", at, got.address, got.seen, address, seen)
	}
}

func TestHints(t *testing.T) {
	var h hints
	expectHint(t, &h, "c", "", Version{})
	h.learn(hint{span: span{"b", "d"}, epoch: 2, address: "one", seen: Version{2, 5}})
	h.learn(hint{span: span{"d", "b"}, epoch: 3, address: "two"})
	expectHint(t, &h, "c", "one", Version{2, 5})
	expectHint(t, &h, "z", "two", Version{})
	expectHint(t, &h, "a", "two", Version{})
	h.learn(hint{span: span{"b", "d"}, epoch: 1, address: "older"})
	expectHint(t, &h, "c", "one", Version{2, 5})
	h.learn(hint{span: span{"b", "d"}, epoch: 2, address: "one", seen: Version{2, 3}})
	expectHint(t, &h, "d", "one", Version{2, 5})
	h.hear("c", Version{2, 9})
	h.hear("c", Version{1, 99})
	expectHint(t, &h, "d", "one", Version{2, 9})
	// The range was split; the other half is not known any more.
	h.learn(hint{span: span{"b", "c"}, epoch: 4, address: "three"})
	expectHint(t, &h, "c", "three", Version{})
	expectHint(t, &h, "d", "", Version{})
	expectHint(t, &h, "e", "two", Version{})
	h.hear("c", Version{4, 1})
	h.forget("c", "other")
	expectHint(t, &h, "c", "three", Version{4, 1})
	h.forgetAddress("three")
	expectHint(t, &h, "c", "", Version{4, 1})
	h.forget("e", "two")
	expectHint(t, &h, "e", "", Version{})
}

func TestHintsAreBounded(t *testing.T) {
	var h hints
	numbered := func(i int) hint {
		lo, hi := fmt.Sprintf("%06d", i), fmt.Sprintf("%06d", i+1)
		return hint{span: span{place(lo), place(hi)}, epoch: 1, address: "a"}
	}
	for i := 0; i < hintsMax-1; i++ {
		h.insert(numbered(i))
	}
	for i := hintsMax - 1; i < hintsMax+3; i++ {
		h.learn(numbered(i))
	}
	if len(h.entries) != hintsMax || h.entries[hintsMax-1].span != numbered(hintsMax-1).span {
		t.Error(len(h.entries))
	}
}

func TestMembers(t *testing.T) {
	m := members{addresses: []string{"a", "b"}}
	m.learn("c")
	m.learn("b")
	m.demote("a")
	m.demote("c") // is not the first
	if fmt.Sprint(m.addresses) != "[b c a]" || m.pick(nil) != "b" || m.pick(map[string]bool{"b": true}) != "c" ||
		m.pick(map[string]bool{"a": true, "b": true, "c": true}) != "b" {
		t.Error(m.addresses)
	}
	for i := 0; i < 100; i++ {
		m.learn(fmt.Sprint(i))
	}
	if len(m.addresses) != membersMax {
		t.Error(len(m.addresses))
	}
	for _, address := range []string{"", "host", "host:", ":1", "host:0", "host:65536", "a b:http"} {
		if checkAddress(address) == nil {
			t.Errorf("%q is no address", address)
		}
	}
	if err := checkAddress("[::1]:4001"); err != nil {
		t.Error(err)
	}
}
