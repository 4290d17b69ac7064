// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	p := newPace()
	for _, most := range []time.Duration{20, 40, 80, 160, 320, 500, 500} {
		most *= time.Millisecond
		if wait := p.next(0); wait < most/2 || wait > most {
			t.Errorf("%v of %v", wait, most)
		}
	}
	if wait := p.next(3 * time.Second); wait != 3*time.Second {
		t.Error(wait)
	}
	c := &Client{attempt: time.Second, members: members{addresses: []string{"a", "b"}}}
	for silent, wanted := range map[int]time.Duration{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 1000: 64} {
		if got := c.patience(pace{silent: silent}); got != wanted*time.Second {
			t.Errorf("%d: %v", silent, got)
		}
	}
}

func TestRest(t *testing.T) {
	c := &Client{closing: make(chan struct{})}
	short, end := context.WithTimeout(background, attemptMin-time.Millisecond)
	defer end()
	if c.rest(short, 0) {
		t.Error("an attempt that has no time makes not done only not known")
	}
	long, cancel := context.WithTimeout(background, time.Minute)
	if !c.rest(long, 0) || !c.rest(long, time.Millisecond) || c.rest(long, time.Minute) || !c.rest(background, 0) {
		t.Error("there is time, or there is none")
	}
	close(c.closing)
	if c.rest(long, 0) || c.rest(long, time.Second) {
		t.Error("the client is closed")
	}
	cancel()
	if c.rest(long, 0) {
		t.Error("it is cancelled")
	}
}
