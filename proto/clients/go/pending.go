// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"chord.example/dht/chordv1"
)

// pending is one operation on its way to its result: what the nodes have said of it so far.
type pending struct {
	Operation
	recipe  recipe
	result  *Result
	begun   bool  // seen is fixed
	at      place // empty: not known yet
	hinted  place // end of the range whose leader is asked now, by a hint and for the first time
	next    next
	last    outcome
	said    reply // of the last attempt
	missing []string
	// Addresses that failed it, until each known member has; those that belong to another ring.
	avoid, foreign map[string]bool
}

func newPending(operation Operation, result *Result) (*pending, *Error) {
	if failure := operation.check(); failure != nil {
		return nil, failure
	}
	var id opID
	if operation.writes() {
		if _, err := rand.Read(id[:]); err != nil {
			return nil, refused(ResourceExhausted, "the system gives no random numbers: %v", err)
		}
	}
	return &pending{
		Operation: operation,
		recipe:    newRecipe(operation.writes(), id),
		result:    result,
		next:      later,
		last:      outcome{code: Unavailable, by: unsent},
	}, nil
}

// begin fixes what was seen: the newest version heard of, or by whoever made the condition. A leader
// does not answer before its range has come to the epoch that was seen, so a version that nobody gave
// out must not count: epoch is what the range is known to have come to.
func (p *pending) begin(heard Version, epoch uint64) {
	if p.begun {
		return
	}
	p.begun = true
	p.recipe.seen = heard
	if p.ifVersion != nil && p.ifVersion.Epoch <= epoch && p.ifVersion.newerThan(heard) {
		p.recipe.seen = *p.ifVersion
	}
}

// message of the next attempt.
func (p *pending) message() *chordv1.Operation {
	kinds := [...]chordv1.OperationKind{
		kindGet:    chordv1.OperationKind_OPERATION_KIND_GET,
		kindPut:    chordv1.OperationKind_OPERATION_KIND_PUT,
		kindDelete: chordv1.OperationKind_OPERATION_KIND_DELETE,
	}
	message := &chordv1.Operation{Kind: kinds[p.kind], Key: []byte(p.key), Value: p.value}
	if !p.writes() {
		return message
	}
	message.OpId = p.recipe.id[:]
	message.Attempt = p.recipe.attempt
	message.Seen = versionMessage(p.recipe.seen) // (0, 0) too: it says that nothing was heard
	message.ExpiresAtMs = uint64(p.expiresAtMs)
	if p.ifAbsent {
		message.Precondition = &chordv1.Precondition{Absent: true}
	} else if p.ifVersion != nil {
		message.Precondition = &chordv1.Precondition{Version: versionMessage(*p.ifVersion)}
	}
	return message
}

func versionMessage(v Version) *chordv1.Version {
	return &chordv1.Version{Epoch: v.Epoch, Counter: v.Counter}
}

func versionOf(message *chordv1.Version) Version {
	return Version{message.GetEpoch(), message.GetCounter()}
}

// fail: the attempt as a whole had no result.
func (p *pending) fail(said reply) {
	p.said = said
	p.last = outcome{code: said.code, by: said.by}
	p.next = p.recipe.take(p.last)
}

// take what a node said of the operation.
func (p *pending) take(said reply, told *chordv1.OperationResult, response *chordv1.BatchResponse) {
	p.said = said
	p.last = outcome{code: Code(told.Code), version: versionOf(told.Version)}
	p.missing = response.Missing
	p.next = p.recipe.take(p.last)
	if p.last.code != OK && p.last.code != NotFound {
		return
	}
	*p.result = Result{
		Value:     told.Value,
		Version:   p.last.version,
		ExpiresAt: unixMs(told.ExpiresAtMs),
		Stale:     response.Stale,
		Existed:   told.Existed,
	}
}

// unwelcome: the node that was asked is not to be asked again for this operation, if there is
// another one.
func (p *pending) unwelcome() bool {
	switch p.last.code {
	case Aborted, ResourceExhausted, OutOfRange, Challenge:
		return p.said.by != byNode
	}
	return true
}

// shun the node that was asked last.
func (p *pending) shun(members *members) {
	if p.avoid == nil || members.allIn(p.avoid) {
		p.avoid = make(map[string]bool)
	}
	p.avoid[p.said.address] = true
	if p.last.code == WrongRing {
		if p.foreign == nil {
			p.foreign = make(map[string]bool)
		}
		p.foreign[p.said.address] = true
		if members.allIn(p.foreign) {
			p.next = end // nobody is left to be asked
		}
	}
}

// finish writes the error, if it is one. over: time ended before the operation did.
func (p *pending) finish(ctx context.Context, over, closing bool) {
	code, fate := p.recipe.verdict(p.last)
	if fate == Done {
		if code == NotFound && !p.writes() {
			p.result.Err = ErrNotFound
		}
		return
	}
	failure := &Error{Code: code, Fate: fate, Message: p.text(), RetryAfter: p.said.retryAfter}
	if code == FailedPrecondition {
		failure.Version = p.last.version
	}
	if over {
		p.explain(failure, ctx, closing)
	}
	*p.result = Result{Err: failure}
}

// explain why there was no time.
func (p *pending) explain(failure *Error, ctx context.Context, closing bool) {
	if len(p.missing) > 0 && failure.Fate == NotDone {
		// Rather what a member said of the missing ones than that the last one asked was silent.
		failure.Code = Unavailable
	}
	failure.Missing = p.missing
	failure.cause = ctx.Err()
	switch {
	case errors.Is(failure.cause, context.Canceled):
		failure.Code = Cancelled
	case closing:
		failure.Message = errClientClosed.Error()
		failure.cause = errClientClosed
		if failure.Fate == NotDone {
			failure.Code = Unavailable
		}
	default:
		failure.cause = context.DeadlineExceeded
	}
}

// text is one sentence for people.
func (p *pending) text() string {
	switch {
	case p.said.message != "":
		return p.said.message
	case len(p.missing) > 0:
		text := "too few copies of the key answer; missing:"
		for _, address := range p.missing {
			text += " " + address
		}
		return text
	case p.last.code == FailedPrecondition && p.ifAbsent:
		return "the key has a value"
	case p.last.code == FailedPrecondition:
		return "the key's value has another version"
	case p.last.code == Unknown && p.last.version.Epoch > 0:
		return "the change may have been made, and the key was written since"
	case p.last.code == Aborted:
		return "others kept writing the key"
	case p.said.address != "":
		return p.said.address + " gave no reason"
	}
	return ""
}

// asked is how long the node wants to be left alone.
func (p *pending) asked() time.Duration {
	return p.said.retryAfter
}
