// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"sync"
)

// Writes of one key take turns at its leader, so whatever waits there may wait for longer than an
// attempt. Of this client only so many are sent at the same time, the others wait here, where they
// can still be given up with nothing done. With two, the leader always has the next one.
const turnsMax = 2

type turns struct {
	lock  sync.Mutex
	byKey map[string]*turn
}

type turn struct {
	underWay int
	waiting  []chan struct{} // closed when it is that write's turn; the first one is next
}

// take a turn; false: the context or the client ended before.
func (t *turns) take(ctx context.Context, closing <-chan struct{}, key string) bool {
	mine := t.enter(key)
	if mine == nil {
		return true
	}
	select {
	case <-mine:
		return true
	case <-ctx.Done():
	case <-closing:
	}
	if !t.leave(key, mine) {
		t.give(key) // it was granted in this moment
	}
	return false
}

// enter gives what is to be waited for; nil: nothing.
func (t *turns) enter(key string) chan struct{} {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.byKey == nil {
		t.byKey = make(map[string]*turn)
	}
	of := t.byKey[key]
	if of == nil {
		of = new(turn)
		t.byKey[key] = of
	}
	if of.underWay < turnsMax {
		of.underWay++
		return nil
	}
	mine := make(chan struct{})
	of.waiting = append(of.waiting, mine)
	return mine
}

// leave the line; false: it is not in it any more.
func (t *turns) leave(key string, mine chan struct{}) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	of := t.byKey[key]
	for i, other := range of.waiting {
		if other == mine {
			of.waiting = append(of.waiting[:i], of.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// give the turn to the next one.
func (t *turns) give(key string) {
	t.lock.Lock()
	defer t.lock.Unlock()
	of := t.byKey[key]
	if len(of.waiting) > 0 {
		close(of.waiting[0])
		of.waiting = of.waiting[1:]
		return
	}
	of.underWay--
	if of.underWay == 0 {
		delete(t.byKey, key)
	}
}
