// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// One request to one node: one attempt. Where the ring has a key, a CHALLENGE is answered within it.

// They ask a node who it is, so they are meant for any ring.
var methodsOfAnyRing = map[string]bool{
	"chord.v1.AdminService/Status":              true,
	"chord.v1.AdminService/Logs":                true,
	"chord.v1.MetaService/GetServerInfo":        true,
	"chord.v1.MetaService/GetFileDescriptorSet": true,
	"chord.v1.MetaService/Describe":             true,
}

// reply is what came of a request.
type reply struct {
	code       Code
	by         answered
	address    string // who was asked
	message    string
	retryAfter time.Duration
	payload    []byte
}

// silent: the node was not reached, or said nothing that is of use to anybody.
func (r reply) silent() bool {
	return r.by != byNode || r.code == WrongRing
}

// ask once, and once more where the node wants the request signed anew. A nil counter: the request
// is for no operation.
func (c *Client) ask(ctx context.Context, address, method string, payload []byte, counter *atomic.Uint64) reply {
	answer := c.askOnce(ctx, address, method, payload, counter)
	if answer.by == byNode && answer.code == Challenge {
		// Nothing was done; what the node told of its process came with it.
		answer = c.askOnce(ctx, address, method, payload, counter)
	}
	return answer
}

func (c *Client) askOnce(ctx context.Context, address, method string, payload []byte, counter *atomic.Uint64) reply {
	to := c.nodes.get(address)
	var ringID []byte
	if ring := c.ring.Load(); ring != nil && !methodsOfAnyRing[method] {
		ringID = ring.RingID
	}
	timeout := c.timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	request, refusal := seal(c.key, ringID, to.receiver(), method, payload, timeout)
	if refusal != nil {
		return reply{code: refusal.Code, by: unsent, address: address, message: refusal.Message}
	}
	body, sent, err := c.nodes.send(ctx, to, request.body, counter)
	if err != nil {
		return unanswered(address, sent, err)
	}
	return c.read(to, request, body)
}

// unanswered says why there is no answer.
func unanswered(address string, sent bool, err error) reply {
	answer := reply{code: Unavailable, by: unsent, address: address, message: address + ": " + err.Error()}
	late := errors.Is(err, context.DeadlineExceeded)
	if late {
		answer.message = address + " did not answer in time"
	}
	if sent {
		answer.by, answer.code = unsettled, Unknown
		if late {
			answer.code = DeadlineExceeded
		}
	}
	return answer
}

func (c *Client) read(from *node, request sealed, body []byte) reply {
	response, refusal := open(c.key, request, body)
	if refusal == nil {
		if told, err := receiverOf(response, time.Now()); err == nil {
			from.tell(told)
		}
		refusal = checkRing(request, response)
	}
	if refusal != nil {
		return reply{code: refusal.Code, by: unsettled, address: from.address,
			message: from.address + ": " + refusal.Message}
	}
	answer := reply{
		code:       Code(response.Code),
		address:    from.address,
		message:    response.Message,
		retryAfter: time.Duration(response.RetryAfterMs) * time.Millisecond,
		payload:    response.Payload,
	}
	if answer.code != OK && answer.message != "" {
		answer.message = from.address + ": " + answer.message
	}
	return answer
}

// unreadable is an answer whose payload is of no use: what became of the request is not known.
func unreadable(answer reply, what string, err error) reply {
	answer.by, answer.code = unsettled, Internal
	answer.message = answer.address + ": the " + what + " cannot be read: " + err.Error()
	return answer
}
