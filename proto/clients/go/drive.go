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
	told := c.hints.find(one.at)
	one.begin(told.seen, told.epoch)
	one.hinted = ""
	if one.said.address == "" { // it was not sent before
		one.hinted = told.hi
	}
	if told.address != "" && !one.avoid[told.address] {
		return told.address
	}
	one.hinted = ""
	return c.members.pick(one.avoid)
}

func (c *Client) groups(todo []*pending) []*group {
	if len(todo) == 1 {
		return []*group{{address: c.target(todo[0]), stale: todo[0].stale, members: todo}}
	}
	var groups []*group
	open := make(map[way]*group)
	for _, one := range todo {
		to := way{address: c.target(one), stale: one.stale}
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
	var said reply
	var response *chordv1.BatchResponse
	first := 0 // place of the group's first result
	began, patience := time.Now(), c.patience(*pace)
	if one := g.members[0]; len(g.members) == 1 && one.hinted != "" && !one.writes() {
		to := way{g.address, one.hinted, g.stale}
		said, response, first = c.ride(ctx, to, one.message(), patience)
	} else {
		operations := make([]*chordv1.Operation, len(g.members))
		for i, one := range g.members {
			operations[i] = one.message()
		}
		said, response = c.batch(ctx, g.address, g.stale, operations, patience)
	}
	blamed := c.blames(ctx, began)
	if said.silent() && blamed {
		pace.silent++
		c.hints.forgetAddress(g.address)
		c.members.demote(g.address)
	}
	if response == nil {
		for _, one := range g.members {
			one.fail(said)
			if blamed {
				c.afterwards(one)
			}
		}
		return
	}
	if first == 0 { // else it was learned for another one
		c.learnHint(response.Hint)
		for _, told := range response.Hints {
			c.learnHint(told)
		}
	}
	for i, one := range g.members {
		c.takeResult(one, said, response, first+i)
	}
}

// blames: a silent node is to blame, and not its caller, who cancelled soon.
func (c *Client) blames(ctx context.Context, began time.Time) bool {
	return !errors.Is(ctx.Err(), context.Canceled) || time.Since(began) >= c.attempt/2
}

func (c *Client) takeResult(one *pending, said reply, response *chordv1.BatchResponse, at int) {
	one.take(said, response.Results[at], response)
	if one.writes() {
		// Nothing of what was read counts as seen: a writer that has seen nothing may overwrite a
		// damaged row.
		c.hints.hear(one.at, one.last.version)
	}
	c.afterwards(one)
	if one.next == later && !one.writes() && one.last.code == ResourceExhausted && othersHadRoom(response) {
		one.next = atOnce // the others' values left no room for this one's
	}
}

func othersHadRoom(response *chordv1.BatchResponse) bool {
	for _, told := range response.Results {
		if told.Code == chordv1.Code_CODE_OK {
			return true
		}
	}
	return false
}

// batch gives the node's word for each operation, or nil.
func (c *Client) batch(ctx context.Context, address string, stale bool, operations []*chordv1.Operation, patience time.Duration) (reply, *chordv1.BatchResponse) {
	request := &chordv1.BatchRequest{Operations: operations}
	if stale {
		request.Consistency = chordv1.Consistency_CONSISTENCY_STALE
	}
	payload, err := proto.Marshal(request)
	if err != nil {
		return reply{code: InvalidArgument, by: unsent, message: err.Error()}, nil
	}
	attempt, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	said := c.ask(attempt, address, methodBatch, payload, &c.requests)
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
