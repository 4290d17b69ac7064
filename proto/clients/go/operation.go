// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"math"
	"time"
)

type kind int

const (
	kindGet kind = iota
	kindPut
	kindDelete
)

// Operation on one key, for Batch: made by Get, Put and Delete.
type Operation struct {
	kind        kind
	key         string
	value       []byte
	stale       bool
	ifAbsent    bool
	ifVersion   *Version
	expires     bool
	expiresAtMs int64
}

// Option of an operation.
type Option func(*Operation)

// Stale makes a get take any member's value at once, even an old one.
func Stale() Option {
	return func(o *Operation) { o.stale = true }
}

// IfAbsent lets a change happen only if the key has no value.
func IfAbsent() Option {
	return func(o *Operation) { o.ifAbsent = true }
}

// IfVersion lets a change happen only if the key's value has this version.
func IfVersion(version Version) Option {
	return func(o *Operation) { o.ifVersion = &version }
}

// ExpiresAt ends the value of a put at that time (in milliseconds, by the clock of a node).
func ExpiresAt(at time.Time) Option {
	return func(o *Operation) { o.expires, o.expiresAtMs = true, at.UnixMilli() }
}

// Get the value of a key: 1 to 1,024 bytes, any.
func Get(key string, options ...Option) Operation {
	return Operation{kind: kindGet, key: key}.with(options)
}

// Put a value, of 0 to 1,048,576 bytes. It must not be changed until the operation has ended.
func Put(key string, value []byte, options ...Option) Operation {
	return Operation{kind: kindPut, key: key, value: value}.with(options)
}

// Delete a key's value.
func Delete(key string, options ...Option) Operation {
	return Operation{kind: kindDelete, key: key}.with(options)
}

func (o Operation) with(options []Option) Operation {
	for _, option := range options {
		option(&o)
	}
	return o
}

func (o Operation) writes() bool {
	return o.kind != kindGet
}

// check what a node would refuse, and a whole batch with it.
func (o Operation) check() *Error {
	switch {
	case len(o.key) < 1 || len(o.key) > keyBytesMax:
		return refused(InvalidArgument, "the key has %d bytes; give 1 to %d", len(o.key), keyBytesMax)
	case len(o.value) > valueBytesMax:
		return refused(InvalidArgument, "the value has %d bytes; at most %d are allowed", len(o.value), valueBytesMax)
	case o.ifAbsent && o.ifVersion != nil:
		return refused(InvalidArgument, "a change has IfAbsent and IfVersion; give one of them")
	case o.kind == kindGet && (o.ifAbsent || o.ifVersion != nil):
		return refused(InvalidArgument, "a get has no condition")
	case o.kind != kindGet && o.stale:
		return refused(InvalidArgument, "only a get may be stale")
	case o.kind != kindPut && o.expires:
		return refused(InvalidArgument, "only a put has an expiry")
	case o.expires && o.expiresAtMs <= 0:
		return refused(InvalidArgument, "the expiry is %d ms of Unix time; give a later one", o.expiresAtMs)
	}
	return nil
}

// Result of an operation.
type Result struct {
	Value     []byte    // of a get
	Version   Version   // of the value that was read or written
	ExpiresAt time.Time // of a get; zero: never
	Stale     bool      // of a get: the value may be old
	Existed   bool      // of a change: the key had a value before
	Err       error     // an *Error; nil: it was done
}

// Get the value of a key. Where it has none, errors.Is(err, ErrNotFound).
func (c *Client) Get(ctx context.Context, key string, options ...Option) (Result, error) {
	return c.single(ctx, Get(key, options...))
}

// Put a value.
func (c *Client) Put(ctx context.Context, key string, value []byte, options ...Option) (Result, error) {
	return c.single(ctx, Put(key, value, options...))
}

// Delete a key's value. Of a key without one it is no error; Existed tells.
func (c *Client) Delete(ctx context.Context, key string, options ...Option) (Result, error) {
	return c.single(ctx, Delete(key, options...))
}

func (c *Client) single(ctx context.Context, operation Operation) (Result, error) {
	result := c.Batch(ctx, operation)[0]
	return result, result.Err
}

// Batch carries out several operations and gives their results in the same order, each with its own
// Err. It is no transaction: they are concurrent with each other, so of two changes of one key
// either may be the last.
func (c *Client) Batch(ctx context.Context, operations ...Operation) []Result {
	results := make([]Result, len(operations))
	todo := make([]*pending, 0, len(operations))
	for i := range operations {
		one, failure := newPending(operations[i], &results[i])
		if failure != nil {
			results[i].Err = failure
			continue
		}
		todo = append(todo, one)
	}
	if len(todo) > 0 {
		c.run(ctx, todo)
	}
	return results
}

func (c *Client) run(ctx context.Context, todo []*pending) {
	failure := ended(ctx)
	if failure == nil {
		failure = c.enter(len(todo))
	}
	if failure != nil {
		for _, one := range todo {
			one.result.Err = failure
		}
		return
	}
	defer c.leave(len(todo))
	ctx, cancel := c.limited(ctx)
	defer cancel()
	if one := todo[0]; len(todo) == 1 && one.writes() {
		if !c.turns.take(ctx, c.closing, one.key) {
			one.said.message = "other writes of the key were under way all the time"
			one.finish(ctx, true, c.isClosing())
			return
		}
		defer c.turns.give(one.key)
	}
	c.drive(ctx, todo, newPace())
}

// ended refuses what nobody waits for any more.
func ended(ctx context.Context) *Error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	failure := refused(Cancelled, "the context had ended before: %v", err)
	if err == context.DeadlineExceeded {
		failure.Code = DeadlineExceeded
	}
	failure.cause = err
	return failure
}

func unixMs(ms uint64) time.Time {
	if ms == 0 || ms > math.MaxInt64/2 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}
