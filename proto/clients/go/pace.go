// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"
)

// How fast an operation is tried again: 20 ms at first, doubled up to 500 ms, with some randomness,
// so that operations that were refused together do not return together.

const (
	pauseFirst = 20 * time.Millisecond
	pauseMost  = 500 * time.Millisecond
	attemptMin = 50 * time.Millisecond // with less, "not done" would only become "not known"
)

type pace struct {
	pause  time.Duration
	silent int // attempts without an answer
}

func newPace() pace {
	return pace{pause: pauseFirst}
}

// next is the pause before the next attempt, and at least what the node asked for.
func (p *pace) next(asked time.Duration) time.Duration {
	wait := p.pause/2 + upTo(p.pause/2)
	if p.pause *= 2; p.pause > pauseMost {
		p.pause = pauseMost
	}
	if wait < asked {
		return asked
	}
	return wait
}

// upTo draws from 0 to most. From the system, since Go before 1.20 draws the same in every process.
func upTo(most time.Duration) time.Duration {
	var drawn [8]byte
	rand.Read(drawn[:]) // without it, only the pauses are alike
	return time.Duration(binary.LittleEndian.Uint64(drawn[:]) % uint64(most+1))
}

// patience is how long the next node is waited for: longer when all of them were silent in turn.
func (c *Client) patience(p pace) time.Duration {
	doubled := p.silent / c.members.count()
	if doubled > 6 {
		doubled = 6
	}
	return c.attempt << doubled
}

// rest before the next attempt. false: there is no time for one, or nobody wants it any more.
func (c *Client) rest(ctx context.Context, wait time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait+attemptMin {
		return false
	}
	if wait <= 0 {
		select {
		case <-c.closing:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-c.closing:
	}
	return false
}
