// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"errors"
	"time"

	"chord.example/dht/chordv1"
	"google.golang.org/protobuf/proto"
)

// What is no operation on a key: which ring this is, lookups, and any other method.

const (
	methodInfo   = "chord.v1.MetaService/GetServerInfo"
	methodLookup = "chord.v1.KvService/Lookup"
)

// ServerInfo is what a node tells of itself.
type ServerInfo struct {
	Ring
	Version         string // of the program
	ProtocolVersion uint32
	Methods         []string
	KeyBytesMax     uint32
	ValueBytesMax   uint32
	MessageBytesMax uint32
}

// Lookup is where a key lies.
type Lookup struct {
	KeyID []byte // the key's place on the ring
	Owner Peer
	Hops  []Hop // who was asked; the first is the member that was called
}

// Peer is a member of the ring.
type Peer struct {
	ID      []byte
	Address string
}

// Hop of a lookup.
type Hop struct {
	Node Peer
	Took time.Duration
}

// ---- learning which ring this is ----

// Ring tells which ring this is; it asks only until somebody has told.
func (c *Client) Ring(ctx context.Context) (Ring, error) {
	failure := c.repeat(ctx, func(ctx context.Context, patience time.Duration, avoid map[string]bool) reply {
		return c.learn(ctx, patience, avoid)
	})
	if failure != nil {
		return Ring{}, failure
	}
	return *c.ring.Load(), nil
}

// learn asks one member, unless it is known by now. One goroutine at a time asks.
func (c *Client) learn(ctx context.Context, patience time.Duration, avoid map[string]bool) reply {
	select {
	case c.learning <- struct{}{}:
	case <-ctx.Done():
		return reply{code: Unavailable, by: unsent, message: "no member has told which ring this is"}
	}
	defer func() { <-c.learning }()
	if c.ring.Load() != nil {
		return reply{code: OK}
	}
	said, info := c.info(ctx, patience, avoid, nil)
	if info == nil {
		return said
	}
	ring := &info.Ring
	switch {
	case ring.M < 1 || ring.M > 160 || len(ring.RingID) != ringIDBytes:
		said.code, said.message = Unavailable, said.address+" is in no ring yet"
	case len(c.wantedRing) > 0 && string(ring.RingID) != string(c.wantedRing):
		said.code, said.message = WrongRing, said.address+" belongs to another ring"
	default:
		c.ring.Store(ring)
	}
	return said
}

// learnFor operations that wait for it: for them, nothing was sent.
func (c *Client) learnFor(ctx context.Context, todo []*pending, pace *pace) bool {
	said := c.learn(ctx, c.patience(*pace), todo[0].avoid)
	if said.by == byNode && said.code == OK {
		return true
	}
	if said.silent() {
		pace.silent++
	}
	for _, one := range todo {
		one.fail(unsentOf(said))
		if one.next != end && said.address != "" {
			one.shun(&c.members)
		}
	}
	return false
}

// unsentOf is what a failed question of another kind says of an operation.
func unsentOf(said reply) reply {
	if said.by == unsettled && said.code != Unauthenticated && said.code != WrongRing {
		said.code = Unavailable
	}
	said.by = unsent
	return said
}

// ---- reads that any member answers ----

// repeat a question to any member until it is answered.
func (c *Client) repeat(ctx context.Context, question func(context.Context, time.Duration, map[string]bool) reply) *Error {
	if failure := ended(ctx); failure != nil {
		return failure
	}
	if failure := c.enter(1); failure != nil {
		return failure
	}
	defer c.leave(1)
	ctx, cancel := c.limited(ctx)
	defer cancel()
	// A read without a key.
	one := &pending{recipe: newRecipe(false, opID{}), result: new(Result)}
	for pace := newPace(); ; {
		said := question(ctx, c.patience(pace), one.avoid)
		if said.silent() {
			pace.silent++
		}
		one.fail(said)
		if one.next != end && said.address != "" {
			one.shun(&c.members)
		}
		if one.next == end {
			one.finish(ctx, false, false)
			break
		}
		if !c.rest(ctx, pace.next(said.retryAfter)) {
			one.finish(ctx, true, c.isClosing())
			break
		}
	}
	failure, _ := one.result.Err.(*Error)
	return failure
}

// asking one member, whichever is not to be avoided.
func (c *Client) asking(ctx context.Context, patience time.Duration, avoid map[string]bool, method string, request, response proto.Message, counted bool) reply {
	payload, err := proto.Marshal(request)
	if err != nil {
		return reply{code: InvalidArgument, by: unsent, message: err.Error()}
	}
	attempt, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	counter := &c.requests
	if !counted {
		counter = nil
	}
	began := time.Now()
	said := c.ask(attempt, c.members.pick(avoid), method, payload, counter)
	if said.silent() && c.blames(ctx, began) {
		c.members.demote(said.address)
	}
	if said.by == byNode && said.code == OK {
		if err := proto.Unmarshal(said.payload, response); err != nil {
			return unreadable(said, string(response.ProtoReflect().Descriptor().Name()), err)
		}
	}
	return said
}

func (c *Client) info(ctx context.Context, patience time.Duration, avoid map[string]bool, into *ServerInfo) (reply, *ServerInfo) {
	response := new(chordv1.GetServerInfoResponse)
	said := c.asking(ctx, patience, avoid, methodInfo, &chordv1.GetServerInfoRequest{}, response, into != nil)
	if said.by != byNode || said.code != OK {
		return said, nil
	}
	if into == nil {
		into = new(ServerInfo)
	}
	*into = ServerInfo{
		Ring: Ring{
			RingID:   response.Parameters.GetRingId(),
			M:        response.Parameters.GetM(),
			N:        response.Parameters.GetN(),
			Replicas: response.Parameters.GetReplicas(),
		},
		Version:         response.Version,
		ProtocolVersion: response.ProtocolVersion,
		Methods:         response.Methods,
		KeyBytesMax:     response.KeyBytesMax,
		ValueBytesMax:   response.ValueBytesMax,
		MessageBytesMax: response.MessageBytesMax,
	}
	return said, into
}

// ServerInfo asks a member what it is.
func (c *Client) ServerInfo(ctx context.Context) (ServerInfo, error) {
	var told ServerInfo
	failure := c.repeat(ctx, func(ctx context.Context, patience time.Duration, avoid map[string]bool) reply {
		said, _ := c.info(ctx, patience, avoid, &told)
		return said
	})
	if failure != nil {
		return ServerInfo{}, failure
	}
	return told, nil
}

// Lookup asks a member for the way over the ring to a key's owner. It reads no value.
func (c *Client) Lookup(ctx context.Context, key string) (Lookup, error) {
	if failure := Get(key).check(); failure != nil {
		return Lookup{}, failure
	}
	response := new(chordv1.LookupResponse)
	failure := c.repeat(ctx, func(ctx context.Context, patience time.Duration, avoid map[string]bool) reply {
		if c.ring.Load() == nil {
			if said := c.learn(ctx, patience, avoid); said.by != byNode || said.code != OK {
				return unsentOf(said)
			}
		}
		return c.asking(ctx, patience, avoid, methodLookup, &chordv1.LookupRequest{Key: []byte(key)}, response, true)
	})
	if failure != nil {
		return Lookup{}, failure
	}
	found := Lookup{KeyID: response.KeyId, Owner: peerOf(response.Owner)}
	for _, hop := range response.Hops {
		found.Hops = append(found.Hops, Hop{peerOf(hop.Node), time.Duration(hop.Microseconds) * time.Microsecond})
	}
	return found, nil
}

func peerOf(message *chordv1.Peer) Peer {
	return Peer{message.GetId(), message.GetAddress()}
}

// ---- any method ----

// Call any method of the contract, once: the first member in the line, or the node at address where
// it is not empty. The payload is the method's own request, packed (package chordv1 has the
// messages); so is what Call returns, which may come beside an *Error with the node's code.
func (c *Client) Call(ctx context.Context, address, method string, payload []byte) ([]byte, error) {
	if address == "" {
		address = c.members.pick(nil)
	} else if err := checkAddress(address); err != nil {
		return nil, refused(InvalidArgument, "%v", err)
	}
	if failure := ended(ctx); failure != nil {
		return nil, failure
	}
	if failure := c.enter(1); failure != nil {
		return nil, failure
	}
	defer c.leave(1)
	ctx, cancel := c.limited(ctx)
	defer cancel()
	if c.ring.Load() == nil && !methodsOfAnyRing[method] {
		if said := unsentOf(c.learn(ctx, c.attempt, nil)); said.code != OK {
			return nil, said.failure(ctx)
		}
	}
	said := c.ask(ctx, address, method, payload, &c.requests)
	if said.by == byNode && said.code == OK {
		return said.payload, nil
	}
	return said.payload, said.failure(ctx)
}

// failure of a single attempt.
func (r reply) failure(ctx context.Context) *Error {
	failure := &Error{Code: r.code, Fate: r.code.facts().fate, Message: r.message, RetryAfter: r.retryAfter}
	switch r.by {
	case unsent:
		failure.Fate = NotDone
	case unsettled:
		failure.Fate = MaybeDone
	}
	if r.by != byNode {
		failure.cause = ctx.Err()
		if errors.Is(failure.cause, context.Canceled) {
			failure.Code = Cancelled
		}
	}
	return failure
}
