// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"errors"
	"sync"
	"time"

	"chord.example/dht/chordv1"
	"google.golang.org/protobuf/proto"
)

// Operations until their outcomes are known: whom they are sent to, which of them travel together,
// how long that node is waited for. What goes with each attempt, and whether there is another one:
// recipe.go.

const (
	groupOperationsMax = 1000
	groupBytesMax      = 512 * 1024 // keys and values; one operation alone may have more
	operationBytes     = 96         // op_id, seen, condition and the like
	methodBatch        = "chord.v1.KvService/Batch"
)

// group is what travels as one request.
type group struct {
	address string
	stale   bool
	bytes   int
	keys    map[string]bool
	members []*pending
}

// drive returns when each operation has its result.
func (c *Client) drive(ctx context.Context, todo []*pending, pace pace) {
	for {
		if c.ring.Load() == nil {
			if c.learnFor(ctx, todo, &pace) {
				continue
			}
		} else if groups := c.groups(todo); len(groups) > 1 {
			c.apart(ctx, groups, pace)
			return
		} else {
			c.attemptOf(ctx, groups[0], &pace)
		}
		atOnceOnes, laterOnes := c.sort(ctx, todo)
		if len(atOnceOnes) > 0 && len(laterOnes) > 0 {
			var both sync.WaitGroup
			both.Add(1)
			go func() {
				defer both.Done()
				c.goOn(ctx, atOnceOnes, pace)
			}()
			c.goOn(ctx, laterOnes, pace)
			both.Wait()
			return
		}
		todo = append(atOnceOnes, laterOnes...)
		if len(todo) == 0 || !c.paused(ctx, todo, &pace) {
			return
		}
	}
}

// goOn with operations after an attempt.
func (c *Client) goOn(ctx context.Context, todo []*pending, pace pace) {
	if c.paused(ctx, todo, &pace) {
		c.drive(ctx, todo, pace)
	}
}

// apart drives each group by itself, so that none waits for another one's node.
func (c *Client) apart(ctx context.Context, groups []*group, pace pace) {
	var all sync.WaitGroup
	all.Add(len(groups))
	for _, one := range groups {
		go func(one *group) {
			defer all.Done()
			c.drive(ctx, one.members, pace)
		}(one)
	}
	all.Wait()
}

// sort finishes what has its outcome, and parts the rest.
func (c *Client) sort(ctx context.Context, todo []*pending) (atOnceOnes, laterOnes []*pending) {
	for _, one := range todo {
		switch one.next {
		case end:
			one.finish(ctx, false, false)
		case atOnce:
			atOnceOnes = append(atOnceOnes, one)
		default:
			laterOnes = append(laterOnes, one)
		}
	}
	return atOnceOnes, laterOnes
}

// paused waits until the next attempt, all being for the same moment. false: there is none, and
// each operation has its error.
func (c *Client) paused(ctx context.Context, todo []*pending, pace *pace) bool {
	var wait time.Duration
	if todo[0].next != atOnce {
		var asked time.Duration
		for _, one := range todo {
			if one.asked() > asked {
				asked = one.asked()
			}
		}
		wait = pace.next(asked)
	}
	if c.rest(ctx, wait) {
		return true
	}
	closing := c.isClosing()
	for _, one := range todo {
		one.finish(ctx, true, closing)
	}
	return false
}

func (c *Client) isClosing() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// ---- who travels with whom ----

// target is whom an operation is sent to next.
func (c *Client) target(one *pending) string {
	if one.at == "" {
		one.at = placeOf(one.key, c.ring.Load().M)
	}
	address, heard := c.hints.find(one.at)
	one.begin(heard)
	if address != "" && !one.avoid[address] {
		return address
	}
	return c.members.pick(one.avoid)
}

func (c *Client) groups(todo []*pending) []*group {
	if len(todo) == 1 {
		return []*group{{address: c.target(todo[0]), stale: todo[0].stale, members: todo}}
	}
	var groups []*group
	type way struct {
		address string
		stale   bool
	}
	open := make(map[way]*group)
	for _, one := range todo {
		to := way{c.target(one), one.stale}
		into := open[to]
		if into == nil || !into.fits(one) {
			into = &group{address: to.address, stale: to.stale, keys: make(map[string]bool)}
			open[to] = into
			groups = append(groups, into)
		}
		into.add(one)
	}
	return groups
}

// fits: a key stands once in a request.
func (g *group) fits(one *pending) bool {
	return len(g.members) < groupOperationsMax && !g.keys[one.key] &&
		g.bytes+len(one.key)+len(one.value)+operationBytes <= groupBytesMax
}

func (g *group) add(one *pending) {
	g.bytes += len(one.key) + len(one.value) + operationBytes
	g.keys[one.key] = true
	g.members = append(g.members, one)
}

// ---- one attempt ----

func (c *Client) attemptOf(ctx context.Context, g *group, pace *pace) {
	request := &chordv1.BatchRequest{Operations: make([]*chordv1.Operation, len(g.members))}
	for i, one := range g.members {
		request.Operations[i] = one.message()
	}
	if g.stale {
		request.Consistency = chordv1.Consistency_CONSISTENCY_STALE
	}
	said, response := c.batch(ctx, g, request, c.patience(*pace))
	if said.silent() {
		pace.silent++
		c.hints.forgetAddress(g.address)
		c.members.demote(g.address)
	}
	if response == nil {
		for _, one := range g.members {
			one.fail(said)
			c.afterwards(one)
		}
		return
	}
	c.learnHint(response.Hint)
	for _, told := range response.Hints {
		c.learnHint(told)
	}
	finished := 0
	for i, one := range g.members {
		one.take(said, response.Results[i], response)
		if one.writes() {
			// Nothing of what was read counts as seen: a writer that has seen nothing may overwrite
			// a damaged row.
			c.hints.hear(one.at, one.last.version)
		}
		c.afterwards(one)
		if one.next == end {
			finished++
		}
	}
	for _, one := range g.members {
		if finished > 0 && one.next == later && !one.writes() && one.last.code == ResourceExhausted {
			one.next = atOnce // the others' values left no room for this one's
		}
	}
}

// batch gives the node's word for each operation, or nil.
func (c *Client) batch(ctx context.Context, g *group, request *chordv1.BatchRequest, patience time.Duration) (reply, *chordv1.BatchResponse) {
	payload, err := proto.Marshal(request)
	if err != nil {
		return reply{code: InvalidArgument, by: unsent, message: err.Error()}, nil
	}
	attempt, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	said := c.ask(attempt, g.address, methodBatch, payload, &c.requests)
	if said.by != byNode || said.code != OK {
		return said, nil
	}
	response := new(chordv1.BatchResponse)
	if err := proto.Unmarshal(said.payload, response); err != nil {
		return unreadable(said, "BatchResponse", err), nil
	}
	said.payload = nil
	if len(response.Results) != len(request.Operations) {
		return unreadable(said, "BatchResponse", errors.New("it has another number of results")), nil
	}
	return said, response
}

// afterwards: who is not to be asked again.
func (c *Client) afterwards(one *pending) {
	if one.next == end || one.next == atOnce || !one.unwelcome() {
		return
	}
	c.hints.forget(one.at, one.said.address)
	one.shun(&c.members)
}

func (c *Client) learnHint(told *chordv1.OwnerHint) {
	ring := c.ring.Load()
	bytes := int(ring.M+7) / 8
	if told == nil || len(told.Range.GetLo()) != bytes || len(told.Range.GetHi()) != bytes ||
		checkAddress(told.Address) != nil {
		return
	}
	c.members.learn(told.Address)
	heard := hint{span: span{place(told.Range.Lo), place(told.Range.Hi)}, epoch: told.Epoch, address: told.Address}
	if told.Counter > 0 { // from the leader
		heard.seen = Version{told.Epoch, told.Counter}
	}
	c.hints.learn(heard)
}
