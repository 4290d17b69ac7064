// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The nodes that this client talks to: one connection to each, dialled when a request needs it, and
// what each has told of its process (envelope.go).

const nodesMax = 1024 // that are remembered; beyond, idle ones are forgotten

var errClientClosed = errors.New("the client is closed")

type nodes struct {
	ctx      context.Context // until the client is closed
	cancel   context.CancelFunc
	patience time.Duration  // how long a dial may take; a connection silent for so long is given up
	ended    sync.WaitGroup // of all goroutines; operations under way add to it

	lock      sync.Mutex
	byAddress map[string]*node
}

type node struct {
	address string

	lock    sync.Mutex
	link    *link // nil: none
	dialing *dialing
	told    receiver
}

type dialing struct {
	done chan struct{}
	link *link
	err  error
}

func newNodes(patience time.Duration) *nodes {
	ctx, cancel := context.WithCancel(context.Background())
	return &nodes{ctx: ctx, cancel: cancel, patience: patience, byAddress: make(map[string]*node)}
}

// stop ends all that is under way.
func (n *nodes) stop() {
	n.cancel()
	n.lock.Lock()
	defer n.lock.Unlock()
	for _, one := range n.byAddress {
		one.hangUp(errClientClosed)
	}
}

func (n *nodes) get(address string) *node {
	n.lock.Lock()
	defer n.lock.Unlock()
	one := n.byAddress[address]
	if one == nil {
		if len(n.byAddress) >= nodesMax {
			n.forgetIdle()
		}
		one = &node{address: address}
		n.byAddress[address] = one
	}
	return one
}

func (n *nodes) forgetIdle() {
	for address, one := range n.byAddress {
		if one.retireIfIdle() {
			delete(n.byAddress, address)
		}
	}
}

// send gives the answer to one request. With an error, sent says whether the request may have
// arrived.
func (n *nodes) send(ctx context.Context, one *node, body []byte, counter *atomic.Uint64) (answer []byte, sent bool, err error) {
	for tries := 0; tries < 2; tries++ {
		l, err := n.connect(ctx, one)
		if err != nil {
			return nil, false, fmt.Errorf("no connection: %w", err)
		}
		x := l.start(body, counter)
		if x == nil { // it was closed since its last request
			one.drop(l)
			continue
		}
		select {
		case <-x.answered:
			if x.err != nil {
				one.drop(l)
			}
			return x.answer, x.sent, x.err
		case <-ctx.Done():
			sent, silent := l.abandon(x)
			if silent && time.Since(x.began) >= n.patience/2 {
				one.drop(l)
				l.retire()
			}
			return nil, sent, ctx.Err()
		}
	}
	return nil, false, errClosed
}

// connect gives the node's connection; whoever needs one at the same time waits for the same dial.
func (n *nodes) connect(ctx context.Context, one *node) (*link, error) {
	one.lock.Lock()
	if one.link != nil {
		defer one.lock.Unlock()
		return one.link, nil
	}
	d := one.dialing
	if d == nil {
		if n.ctx.Err() != nil {
			one.lock.Unlock()
			return nil, errClientClosed
		}
		d = &dialing{done: make(chan struct{})}
		one.dialing = d
		n.ended.Add(1)
		go n.dial(one, d)
	}
	one.lock.Unlock()
	select {
	case <-d.done:
		return d.link, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *nodes) dial(one *node, d *dialing) {
	defer n.ended.Done()
	ctx, cancel := context.WithTimeout(n.ctx, n.patience)
	defer cancel()
	d.link, d.err = dial(ctx, one.address, &n.ended)
	one.lock.Lock()
	one.dialing, one.link = nil, d.link
	one.lock.Unlock()
	if n.ctx.Err() != nil {
		one.hangUp(errClientClosed)
	}
	close(d.done)
}

// drop a connection that takes no further request: the next one is made anew.
func (one *node) drop(l *link) {
	one.lock.Lock()
	defer one.lock.Unlock()
	if one.link == l {
		one.link = nil
	}
}

func (one *node) hangUp(why error) {
	one.lock.Lock()
	defer one.lock.Unlock()
	if one.link != nil {
		one.link.close(why)
	}
}

func (one *node) retireIfIdle() bool {
	one.lock.Lock()
	defer one.lock.Unlock()
	if one.dialing != nil || (one.link != nil && one.link.busy()) {
		return false
	}
	if one.link != nil {
		one.link.retire()
	}
	return true
}

// receiver is what the node told last.
func (one *node) receiver() receiver {
	one.lock.Lock()
	defer one.lock.Unlock()
	return one.told
}

func (one *node) tell(told receiver) {
	one.lock.Lock()
	defer one.lock.Unlock()
	one.told = told
}
