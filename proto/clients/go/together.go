// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"errors"
	"sync"
	"time"

	"chord.example/dht/chordv1"
)

// Gets that wait at one moment for the leader of one range travel as one Batch: the busier the
// leader, the larger the batches. No timer: while few requests are out there, a get is sent at once;
// else it waits until one of them comes back. Only first attempts: whatever keeps one is not to keep
// others. Changes travel alone, since one that waits for disks would keep the rest.

const (
	togetherOut = 2   // requests of one way that are out at the same time
	togetherMax = 128 // gets that travel as one
)

var errOthersFailed = errors.New("the request before this one got no answer")

// way is what gets have in common that travel together.
type way struct {
	address string
	hi      place // the end of its range
	stale   bool
}

type together struct {
	lock sync.Mutex
	ways map[way]*line
}

// line of those who go one way.
type line struct {
	out     int
	waiting []*rider
}

// rider is one get, and the answer that it shares with others.
type rider struct {
	operation *chordv1.Operation
	arrived   chan struct{} // closed when the rest is there
	said      reply
	response  *chordv1.BatchResponse // nil: there is none
	at        int                    // its place among the results
}

// join the line; true: it goes out now, as a request of its own.
func (t *together) join(to way, r *rider) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.ways == nil {
		t.ways = make(map[way]*line)
	}
	of := t.ways[to]
	if of == nil {
		of = new(line)
		t.ways[to] = of
	}
	if of.out < togetherOut {
		of.out++
		return true
	}
	of.waiting = append(of.waiting, r)
	return false
}

// next after a request came back: those that go out now, and those that find another way.
func (t *together) next(to way, wentWell bool) (riders, failed []*rider) {
	t.lock.Lock()
	defer t.lock.Unlock()
	of := t.ways[to]
	count := len(of.waiting)
	if !wentWell {
		failed, of.waiting = of.waiting, nil
		count = 0
	} else if count > togetherMax {
		count = togetherMax
	}
	riders = append(riders, of.waiting[:count]...)
	of.waiting = append([]*rider(nil), of.waiting[count:]...)
	if count == 0 {
		of.out--
		if of.out == 0 {
			delete(t.ways, to)
		}
	}
	return riders, failed
}

// leave the line; false: it is on its way.
func (t *together) leave(to way, r *rider) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	of := t.ways[to]
	if of == nil {
		return false
	}
	for i, other := range of.waiting {
		if other == r {
			of.waiting = append(of.waiting[:i], of.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// ride is one attempt of a get, perhaps together with others.
func (c *Client) ride(ctx context.Context, to way, operation *chordv1.Operation, patience time.Duration) (reply, *chordv1.BatchResponse, int) {
	r := &rider{operation: operation, arrived: make(chan struct{})}
	began := time.Now()
	if c.together.join(to, r) {
		said, response := c.batch(ctx, to.address, to.stale, []*chordv1.Operation{operation}, patience)
		c.letGo(to, response != nil || !c.blames(ctx, began))
		return said, response, 0
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-r.arrived:
		return r.said, r.response, r.at
	case <-ctx.Done():
		return unanswered(to.address, !c.together.leave(to, r), ctx.Err()), nil, 0
	}
}

// letGo those that waited for a request to come back.
func (c *Client) letGo(to way, wentWell bool) {
	riders, failed := c.together.next(to, wentWell)
	for _, r := range failed {
		r.said = unanswered(to.address, false, errOthersFailed)
		close(r.arrived)
	}
	if len(riders) > 0 {
		c.nodes.ended.Add(1)
		go c.carry(to, riders)
	}
}

func (c *Client) carry(to way, riders []*rider) {
	defer c.nodes.ended.Done()
	operations := make([]*chordv1.Operation, len(riders))
	for i, r := range riders {
		operations[i] = r.operation
	}
	said, response := c.batch(c.nodes.ctx, to.address, to.stale, operations, c.attempt)
	for i, r := range riders {
		r.said, r.response, r.at = said, response, i
		close(r.arrived)
	}
	c.letGo(to, response != nil)
}
