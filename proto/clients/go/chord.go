// SPDX-License-Identifier: MIT

// Package chord reads and writes the keys of a Chord ring.
//
// Each operation is sent again, also to other members, until its outcome is known or its time is
// over, and takes effect at most once. An *Error says in its Fate what became of one that failed.
// A Client is safe for use by many goroutines and meant to be shared: it has one connection to each
// node, on which any number of requests is under way.
package chord

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultTimeout    = 8 * time.Second
	defaultAttempt    = time.Second
	defaultOperations = 16384

	keyBytesMax   = 1024
	valueBytesMax = 1024 * 1024
	ringIDBytes   = 16
	keyLengthMin  = 16
	keyLengthMax  = 64
)

// Options of a client. Only Members is needed.
type Options struct {
	// Members of the ring, "host:port". One is enough to start; answers tell of others.
	Members []string
	// Key of the ring, 16 to 64 bytes; empty: the ring has none. Whoever has it may do everything.
	Key []byte
	// RingID, 16 bytes: the ring that is meant. Empty: that of the first member that answers.
	RingID []byte
	// Timeout of an operation whose context has no deadline; 0: 8 s.
	Timeout time.Duration
	// Attempt is how long one node is waited for; 0: 1 s. It is doubled when all known members
	// were silent in turn.
	Attempt time.Duration
	// Operations that may be under way at the same time, those of a batch included; 0: 16384. One
	// more is refused with ResourceExhausted, NotDone.
	Operations int
	// Lazy: Open asks nobody, and the first operation learns what there is to know of the ring.
	Lazy bool
}

// Client of one ring.
type Client struct {
	key            []byte
	wantedRing     []byte
	timeout        time.Duration
	attempt        time.Duration
	operationsMax  int
	nodes          *nodes
	members        members
	hints          hints
	turns          turns
	together       together
	ring           atomic.Pointer[Ring] // nil: nobody has told yet
	learning       chan struct{}        // holds one token: whoever has it asks
	requests       atomic.Uint64
	closing        chan struct{}
	lock           sync.Mutex // of the rest
	closed         bool
	underWay       int
	operationsDone sync.WaitGroup
}

// Ring is what all its members agree on for ever.
type Ring struct {
	RingID   []byte
	M        uint32 // identifier bits
	N        uint32 // successors kept by each node
	Replicas uint32 // copies of each key
}

// Open a client. It asks the members until one tells what ring this is, or the context ends, or
// Options.Timeout is over.
func Open(ctx context.Context, options Options) (*Client, error) {
	if failure := checkOptions(&options); failure != nil {
		return nil, failure
	}
	c := &Client{
		key:           append([]byte(nil), options.Key...),
		wantedRing:    append([]byte(nil), options.RingID...),
		timeout:       options.Timeout,
		attempt:       options.Attempt,
		operationsMax: options.Operations,
		nodes:         newNodes(options.Attempt),
		members:       members{addresses: append([]string(nil), options.Members...)},
		learning:      make(chan struct{}, 1),
		closing:       make(chan struct{}),
	}
	if !options.Lazy {
		if _, err := c.Ring(ctx); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

func checkOptions(options *Options) *Error {
	if len(options.Members) == 0 || len(options.Members) > membersMax {
		return refused(InvalidArgument, "%d members are given; give 1 to %d, host:port", len(options.Members), membersMax)
	}
	for _, address := range options.Members {
		if err := checkAddress(address); err != nil {
			return refused(InvalidArgument, "Members: %v", err)
		}
	}
	if n := len(options.Key); n != 0 && (n < keyLengthMin || n > keyLengthMax) {
		return refused(InvalidArgument, "Key has %d bytes; give %d to %d, or none", n, keyLengthMin, keyLengthMax)
	}
	if n := len(options.RingID); n != 0 && n != ringIDBytes {
		return refused(InvalidArgument, "RingID has %d bytes; give %d, or none", n, ringIDBytes)
	}
	if options.Timeout < 0 || options.Attempt < 0 || options.Operations < 0 {
		return refused(InvalidArgument, "Timeout %v, Attempt %v and Operations %d must not be below 0",
			options.Timeout, options.Attempt, options.Operations)
	}
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	if options.Attempt == 0 {
		options.Attempt = defaultAttempt
	}
	if options.Operations == 0 {
		options.Operations = defaultOperations
	}
	return nil
}

// Close ends what is under way, each operation with its fate. When it returns, no connection and no
// goroutine of the client is left. It never fails.
func (c *Client) Close() error {
	c.lock.Lock()
	if !c.closed {
		c.closed = true
		close(c.closing)
	}
	c.lock.Unlock()
	c.nodes.stop()
	c.operationsDone.Wait()
	c.nodes.ended.Wait()
	return nil
}

// Requests that this client has sent for operations: every attempt, and every second sending after
// a CHALLENGE.
func (c *Client) Requests() uint64 {
	return c.requests.Load()
}

// enter is called before operations are under way, leave after.
func (c *Client) enter(operations int) *Error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.closed {
		return refused(Unavailable, "%v", errClientClosed)
	}
	if c.underWay+operations > c.operationsMax {
		return refused(ResourceExhausted, "%d operations are under way and %d are to be added; at most %d are allowed",
			c.underWay, operations, c.operationsMax)
	}
	c.underWay += operations
	c.operationsDone.Add(1)
	return nil
}

func (c *Client) leave(operations int) {
	c.lock.Lock()
	c.underWay -= operations
	c.lock.Unlock()
	c.operationsDone.Done()
}

// limited gives the context its default deadline.
func (c *Client) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}
