// SPDX-License-Identifier: MIT

package chord

// Operations that end without an answer: no time, nobody there, cancelled, closed, too many, refused.

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"chord.example/dht/chordv1"
)

func TestNoAnswerInTime(t *testing.T) {
	node := newFakeNode(t, func(*chordv1.RpcRequest) *chordv1.RpcResponse { return nil })
	client := opened(t, Options{Members: []string{node.address()}, Timeout: 400 * time.Millisecond})
	_, err := client.Get(background, "key")
	if expectError(t, err, DeadlineExceeded, NotDone); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ctx, cancel := within(150)
	defer cancel()
	_, err = client.Put(ctx, "key", nil)
	expectError(t, err, Unknown, MaybeDone)
	// Silent all the time: the connection was given up.
	if node.connections() < 2 {
		t.Error(node.connections())
	}
	ctx, cancel = within(0)
	defer cancel()
	_, err = client.Put(ctx, "key", nil)
	expectError(t, err, DeadlineExceeded, NotDone)
}

func TestNobodyAnswers(t *testing.T) {
	_, err := Open(background, Options{Members: []string{deadAddress(t)}, Timeout: 100 * time.Millisecond})
	expectError(t, err, Unavailable, NotDone)
	client := opened(t, Options{Members: []string{deadAddress(t)}, Timeout: 100 * time.Millisecond, Lazy: true})
	_, err = client.Put(background, "key", nil)
	expectError(t, err, Unavailable, NotDone)
	_, err = client.Lookup(background, "key")
	expectError(t, err, Unavailable, NotDone)
	_, err = client.Call(background, "", "chord.v1.KvService/Get", nil)
	expectError(t, err, Unavailable, NotDone)
	if client.Requests() != 0 {
		t.Error(client.Requests())
	}
	web := newFakeNode(t, echo)
	web.change(func(is *identity) { is.hello = []byte("HTTP/1.1 400 Bad Request") })
	client = opened(t, Options{Members: []string{web.address()}, Timeout: 100 * time.Millisecond, Lazy: true})
	_, err = client.Get(background, "key")
	expectError(t, err, Unavailable, NotDone)
}

func TestCancel(t *testing.T) {
	node, arrived := waitingNode(t)
	client := opened(t, Options{Members: []string{node.address()}, Attempt: time.Minute, Timeout: time.Minute})
	var ctx context.Context
	for what, ask := range map[string]func() error{
		"maybe done put":  func() error { _, err := client.Put(ctx, "key", nil); return err },
		"not done get":    func() error { _, err := client.Get(ctx, "key"); return err },
		"maybe done call": func() error { _, err := client.Call(ctx, "", methodBatch, nil); return err },
	} {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(background)
		go func() {
			<-arrived
			cancel()
		}()
		err := ask()
		fate := MaybeDone
		if strings.HasPrefix(what, "not done") {
			fate = NotDone
		}
		if expectError(t, err, Cancelled, fate); !errors.Is(err, context.Canceled) {
			t.Error(what, err)
		}
		_, err = client.Put(ctx, "key", nil)
		expectError(t, err, Cancelled, NotDone)
	}
	if node.connections() != 1 || client.Requests() != 3 {
		t.Error("a connection was given up after a short wait", node.connections(), client.Requests())
	}
}

// waitingNode answers nothing until it is closed; each request is told.
func waitingNode(t *testing.T) (*fakeNode, chan bool) {
	arrived := make(chan bool, 100)
	return newFakeNode(t, func(*chordv1.RpcRequest) *chordv1.RpcResponse {
		arrived <- true
		return nil
	}), arrived
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	node, arrived := waitingNode(t)
	client := opened(t, Options{Members: []string{node.address()}, Attempt: time.Minute, Timeout: time.Minute})
	errs := make(chan error)
	go func() {
		_, err := client.Put(background, "key", nil)
		errs <- err
	}()
	go func() {
		_, err := client.Get(background, "key")
		errs <- err
	}()
	<-arrived
	<-arrived
	closed := make(chan bool)
	go func() {
		client.Close()
		close(closed)
	}()
	fates := map[Code]Fate{}
	for i := 0; i < 2; i++ {
		var failure *Error
		if err := <-errs; errors.As(err, &failure) {
			fates[failure.Code] = failure.Fate
		}
	}
	<-closed
	if fates[Unknown] != MaybeDone || fates[Unavailable] != NotDone || len(fates) != 2 {
		t.Error(fates)
	}
	expectNoGoroutines(t)
	_, err := client.Get(background, "key")
	expectError(t, err, Unavailable, NotDone)
}

func TestOperationsUnderWayAreLimited(t *testing.T) {
	node, arrived := waitingNode(t)
	client := opened(t, Options{Members: []string{node.address()}, Attempt: time.Minute, Timeout: time.Minute, Operations: 3})
	ctx, cancel := context.WithCancel(background)
	ended := make(chan bool)
	go func() {
		client.Batch(ctx, Get("a"), Get("b"))
		close(ended)
	}()
	<-arrived
	for _, result := range client.Batch(background, Put("c", nil), Put("d", nil)) {
		expectError(t, result.Err, ResourceExhausted, NotDone)
	}
	cancel()
	<-ended
	if client.Requests() != 1 {
		t.Error(client.Requests())
	}
	short, end := within(50)
	defer end()
	for _, result := range client.Batch(short, Get("a"), Get("b"), Get("c")) {
		expectError(t, result.Err, DeadlineExceeded, NotDone)
	}
}

// Writes of one key wait here, in their order; of those that wait nothing was done.
func TestWritesOfOneKeyTakeTurns(t *testing.T) {
	node, arrived := waitingNode(t)
	client := opened(t, Options{Members: []string{node.address()}, Attempt: time.Minute, Timeout: time.Minute})
	ctx, cancel := context.WithCancel(background)
	errs := make(chan error)
	put := func(ctx context.Context) {
		_, err := client.Put(ctx, "key", nil)
		errs <- err
	}
	for i := 0; i < turnsMax; i++ {
		go put(ctx)
		<-arrived
	}
	short, end := within(50)
	defer end()
	go put(short)
	if failure := expectError(t, <-errs, Unavailable, NotDone); !errors.Is(failure, context.DeadlineExceeded) {
		t.Error(failure)
	}
	go put(background)
	other, endOther := within(200)
	defer endOther()
	_, err := client.Put(other, "other", nil) // has its own turns
	expectError(t, err, Unknown, MaybeDone)
	<-arrived
	if client.Requests() != turnsMax+1 {
		t.Error(client.Requests())
	}
	cancel()
	<-arrived // the one that waited
	for i := 0; i < turnsMax; i++ {
		expectError(t, <-errs, Cancelled, MaybeDone)
	}
	client.Close()
	expectError(t, <-errs, Unknown, MaybeDone)
	if len(client.turns.byKey) != 0 {
		t.Error(client.turns.byKey)
	}
}

func TestLocalRefusals(t *testing.T) {
	node := newFakeNode(t, echo)
	client := opened(t, Options{Members: []string{node.address()}})
	long := string(make([]byte, keyBytesMax+1))
	all := client.Batch(background, Get(""), Get(long), Put("k", make([]byte, valueBytesMax+1)),
		Put("k", nil, IfAbsent(), IfVersion(old)), Get("k", IfAbsent()), Delete("k", Stale()),
		Delete("k", ExpiresAt(time.Now())), Put("k", nil, ExpiresAt(time.Unix(-1, 0))))
	for i, result := range all {
		if expectError(t, result.Err, InvalidArgument, NotDone).Message == "" {
			t.Error(i)
		}
	}
	_, err := client.Lookup(background, "")
	expectError(t, err, InvalidArgument, NotDone)
	_, err = client.Call(background, "nowhere", "m", nil)
	expectError(t, err, InvalidArgument, NotDone)
	if client.Requests() != 0 {
		t.Error(client.Requests())
	}
	for _, options := range []Options{
		{}, {Members: []string{"nowhere"}}, {Members: []string{"h:1"}, Key: []byte("short")},
		{Members: []string{"h:1"}, RingID: []byte{1}}, {Members: []string{"h:1"}, Timeout: -1},
	} {
		_, err := Open(background, options)
		expectError(t, err, InvalidArgument, NotDone)
	}
}
