// SPDX-License-Identifier: MIT

package chord

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"sync"
	"testing"
	"time"

	"chord.example/dht/chordv1"
)

var (
	background = context.Background()
	okResult   = results(result(chordv1.Code_CODE_OK, Version{3, 8}))
)

func expectError(t *testing.T, err error, code Code, fate Fate) *Error {
	t.Helper()
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != code || failure.Fate != fate {
		t.Fatalf("%v, not %v and %v", err, code, fate)
	}
	return failure
}

func within(ms int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(background, time.Duration(ms)*time.Millisecond)
}

// deadAddress is one where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestAnswersComeInAnyOrderOnOneConnection(t *testing.T) {
	node := newFakeNode(t, func(request *chordv1.RpcRequest) *chordv1.RpcResponse {
		time.Sleep(time.Duration(rand.Intn(3)) * time.Millisecond)
		return echo(request)
	})
	client := opened(t, Options{Members: []string{node.address()}, Attempt: 5 * time.Second})
	var running sync.WaitGroup
	for worker := 0; worker < 64; worker++ {
		running.Add(1)
		go func(worker int) {
			defer running.Done()
			for round := 0; round < 10; round++ {
				key := fmt.Sprintf("%d of %d", round, worker)
				found, err := client.Get(background, key)
				if err != nil || string(found.Value) != key || found.Version != (Version{1, 1}) {
					t.Errorf("%s: %+v, %v", key, found, err)
				}
			}
		}(worker)
	}
	running.Wait()
	if node.connections() != 1 || client.Requests() != 640 {
		t.Error(node.connections(), client.Requests())
	}
}

func TestALostAnswer(t *testing.T) {
	node := newFakeNode(t, inTurn(nil, nil, okResult))
	client := opened(t, Options{Members: []string{node.address()}})
	written, err := client.Put(background, "key", []byte("value"))
	if err != nil || written.Version != (Version{3, 8}) {
		t.Fatal(written, err)
	}
	sent := node.operations()
	for i, attempt := range sent {
		one := attempt[0]
		if len(sent) != 3 || one.Attempt != uint32(i+1) || len(one.OpId) != 16 || one.Seen == nil ||
			!bytes.Equal(one.OpId, sent[0][0].OpId) || versionOf(one.Seen) != versionOf(sent[0][0].Seen) {
			t.Errorf("attempt %d of %d: %v", i+1, len(sent), one)
		}
	}
	if !bytes.Equal(node.requests()[0].RingId, testRing) {
		t.Error("the ring is not named")
	}
}

func TestAClosedConnectionMayHaveDoneIt(t *testing.T) {
	var node *fakeNode
	first := true
	node = newFakeNode(t, func(request *chordv1.RpcRequest) *chordv1.RpcResponse {
		if first {
			first = false
			node.hangUp()
			return nil
		}
		return okResult
	})
	client := opened(t, Options{Members: []string{node.address()}, Attempt: 5 * time.Second})
	if _, err := client.Put(background, "key", nil); err != nil {
		t.Fatal(err)
	}
	if sent := node.operations(); len(sent) != 2 || sent[1][0].Attempt != 2 {
		t.Error(sent)
	}
}

func TestAConnectionThatWasClosedMeanwhile(t *testing.T) {
	node := newFakeNode(t, echo)
	client := opened(t, Options{Members: []string{node.address()}})
	kept := client.nodes.get(node.address()).link
	node.hangUp()
	<-kept.over // noticed, without a request
	if _, err := client.Put(background, "key", nil); err != nil {
		t.Fatal(err)
	}
	if sent := node.operations(); len(sent) != 1 || sent[0][0].Attempt != 1 || node.connections() != 2 {
		t.Error(sent, node.connections())
	}
}

func TestNobodyThereIsTheSameAttempt(t *testing.T) {
	node := newFakeNode(t, echo)
	client := opened(t, Options{Members: []string{node.address(), deadAddress(t)}})
	client.members.demote(node.address()) // the dead one is asked first
	if _, err := client.Put(background, "key", nil); err != nil {
		t.Fatal(err)
	}
	if sent := node.operations(); len(sent) != 1 || sent[0][0].Attempt != 1 {
		t.Error(sent)
	}
}

func TestAbortedGoesOnAtOnce(t *testing.T) {
	node := newFakeNode(t, inTurn(results(result(chordv1.Code_CODE_ABORTED, Version{3, 7})), okResult))
	client := opened(t, Options{Members: []string{node.address()}})
	if _, err := client.Put(background, "key", nil); err != nil {
		t.Fatal(err)
	}
	if sent := node.operations(); len(sent) != 2 || sent[1][0].Attempt != 1 || versionOf(sent[1][0].Seen) != (Version{3, 7}) {
		t.Error(sent)
	}
}

func TestANodeThatCannotIsNotAskedAgain(t *testing.T) {
	node := newFakeNode(t, echo)
	for _, word := range []*chordv1.RpcResponse{
		results(result(chordv1.Code_CODE_UNAVAILABLE, Version{})),
		{Code: chordv1.Code_CODE_UNAVAILABLE, Message: "not now"},
		{Code: chordv1.Code_CODE_WRONG_RING, RingId: bytes.Repeat([]byte{8}, 16)},
	} {
		cannot := newFakeNode(t, inTurn(word))
		client := opened(t, Options{Members: []string{cannot.address(), node.address()}})
		if _, err := client.Put(background, "key", nil); err != nil {
			t.Error(word, err)
		}
		if sent := node.operations(); len(cannot.requests()) != 1 || sent[len(sent)-1][0].Attempt != 1 {
			t.Error(word, len(cannot.requests()))
		}
	}
}

func TestAnAnswerWithoutAResult(t *testing.T) {
	node := newFakeNode(t, inTurn(results(), okResult))
	client := opened(t, Options{Members: []string{node.address()}})
	if _, err := client.Put(background, "key", nil); err != nil {
		t.Fatal(err)
	}
	if sent := node.operations(); len(sent) != 2 || sent[1][0].Attempt != 2 {
		t.Error(sent)
	}
}

// One silence is enough: no other key waits for that node.
func TestASilentLeaderOfTwoRanges(t *testing.T) {
	silent := newFakeNode(t, func(*chordv1.RpcRequest) *chordv1.RpcResponse { return nil })
	node := newFakeNode(t, echo)
	client := opened(t, Options{Members: []string{node.address(), silent.address()}})
	middle := place([]byte{0x80, 0, 0, 0})
	for _, of := range []span{{"\x00\x00\x00\x00", middle}, {middle, "\x00\x00\x00\x00"}} {
		client.hints.learn(hint{span: of, epoch: 1, address: silent.address()})
	}
	for _, key := range []string{"apple", "b", "c", "d"} { // d0be..., e9d7..., 84a5..., 3c36...
		if _, err := client.Put(background, key, nil); err != nil {
			t.Error(err)
		}
	}
	if len(silent.requests()) != 1 {
		t.Error(len(silent.requests()))
	}
}

func TestUnknownForGood(t *testing.T) {
	node := newFakeNode(t, inTurn(nil, results(result(chordv1.Code_CODE_UNKNOWN, Version{3, 7}))))
	client := opened(t, Options{Members: []string{node.address()}})
	_, err := client.Delete(background, "key")
	expectError(t, err, Unknown, MaybeDone)
	if client.Requests() != 2 {
		t.Error(client.Requests())
	}
}

func TestConditions(t *testing.T) {
	stood := results(result(chordv1.Code_CODE_FAILED_PRECONDITION, Version{3, 7}))
	node := newFakeNode(t, inTurn(stood, stood, results(result(chordv1.Code_CODE_NOT_FOUND, Version{}))))
	client := opened(t, Options{Members: []string{node.address()}})
	_, err := client.Put(background, "key", nil, IfAbsent())
	if failure := expectError(t, err, FailedPrecondition, NotDone); failure.Version != (Version{3, 7}) {
		t.Error(failure)
	}
	_, err = client.Delete(background, "key", IfVersion(Version{3, 6}))
	expectError(t, err, FailedPrecondition, NotDone)
	if deleted, err := client.Delete(background, "key"); err != nil || deleted.Existed {
		t.Error(deleted, err)
	}
	sent := node.operations()
	if !sent[0][0].Precondition.Absent || versionOf(sent[1][0].Precondition.Version) != (Version{3, 6}) ||
		versionOf(sent[1][0].Seen) != (Version{}) || sent[2][0].Precondition != nil {
		t.Error(sent) // nobody has said that the range has come to epoch 3
	}
}

func TestAHintIsFollowed(t *testing.T) {
	leader := newFakeNode(t, echo)
	first := newFakeNode(t, func(request *chordv1.RpcRequest) *chordv1.RpcResponse {
		return packed(&chordv1.BatchResponse{
			Results: []*chordv1.OperationResult{result(chordv1.Code_CODE_OK, Version{4, 2})},
			Hint: &chordv1.OwnerHint{Range: &chordv1.Range{Lo: []byte{0, 0, 0, 0}, Hi: []byte{0, 0, 0, 0}},
				Address: leader.address(), Epoch: 4, Counter: 1},
		})
	})
	client := opened(t, Options{Members: []string{first.address()}})
	for i := 0; i < 3; i++ {
		if _, err := client.Put(background, "key", nil); err != nil {
			t.Fatal(err)
		}
	}
	sent := leader.operations()
	if len(first.requests()) != 1 || len(sent) != 2 || versionOf(sent[0][0].Seen) != (Version{4, 2}) {
		t.Error(len(first.requests()), sent)
	}
	// Nobody is there any more: the other one is asked.
	leader.close()
	if _, err := client.Put(background, "key", nil); err != nil || len(first.requests()) != 2 {
		t.Error(err, len(first.requests()))
	}
}

func TestChallenge(t *testing.T) {
	node := newFakeNode(t, echo)
	key := []byte("0123456789abcdef")
	node.change(func(is *identity) { is.key = key })
	client := opened(t, Options{Members: []string{node.address()}, Key: key, Lazy: true})
	if found, err := client.Get(background, "key"); err != nil || string(found.Value) != "key" {
		t.Fatal(found, err)
	}
	if len(node.requests()) != 2 || client.Requests() != 1 { // GetServerInfo was challenged
		t.Error(len(node.requests()), client.Requests())
	}
	node.change(func(is *identity) { is.start = bytes.Repeat([]byte{6}, 16) }) // started anew
	if _, err := client.Put(background, "key", nil); err != nil {
		t.Fatal(err)
	}
	if sent := node.operations(); len(sent) != 4 || sent[3][0].Attempt != 1 || client.Requests() != 3 {
		t.Error(len(sent), client.Requests())
	}
	node.change(func(is *identity) { is.start = bytes.Repeat([]byte{7}, 16) })
	if _, err := client.Call(background, "", methodBatch, node.requests()[1].Payload); err != nil {
		t.Error("within one attempt:", err)
	}
	if info, err := client.ServerInfo(background); err != nil || info.M != 32 || !bytes.Equal(info.RingID, testRing) {
		t.Error(info, err)
	}
}

func TestAnotherKey(t *testing.T) {
	node := newFakeNode(t, echo)
	node.change(func(is *identity) { is.key = []byte("0123456789abcdef") })
	_, err := Open(background, Options{Members: []string{node.address()}, Key: []byte("fedcba9876543210")})
	expectError(t, err, Unauthenticated, NotDone)
	_, err = Open(background, Options{Members: []string{node.address()}})
	expectError(t, err, Unauthenticated, NotDone)
	client := opened(t, Options{Members: []string{node.address()}, Lazy: true})
	_, err = client.Put(background, "key", nil)
	expectError(t, err, Unauthenticated, NotDone)
	expectNoGoroutines(t)
}

func TestAnotherRing(t *testing.T) {
	node := newFakeNode(t, echo)
	client := opened(t, Options{Members: []string{node.address()}})
	other := bytes.Repeat([]byte{8}, 16)
	node.change(func(is *identity) { is.ringID = other })
	_, err := client.Get(background, "key")
	expectError(t, err, WrongRing, NotDone)
	// Who knows which ring's key was written.
	_, err = client.Put(background, "key", nil)
	expectError(t, err, Unknown, MaybeDone)
	refuses := newFakeNode(t, inTurn(&chordv1.RpcResponse{Code: chordv1.Code_CODE_WRONG_RING, RingId: other}))
	client = opened(t, Options{Members: []string{refuses.address()}})
	_, err = client.Put(background, "key", nil)
	expectError(t, err, WrongRing, NotDone)
	_, err = Open(background, Options{Members: []string{node.address()}, RingID: testRing})
	expectError(t, err, WrongRing, NotDone)
}

func TestBatch(t *testing.T) {
	full := results(result(chordv1.Code_CODE_OK, old), result(chordv1.Code_CODE_RESOURCE_EXHAUSTED, Version{}))
	full.RetryAfterMs = 60_000 // not meant for what only had no room
	node := newFakeNode(t, inTurn(full, okResult))
	client := opened(t, Options{Members: []string{node.address()}})
	all := client.Batch(background, Get("a"), Get("b"))
	if all[0].Err != nil || all[1].Err != nil || all[0].Version != old || all[1].Version != (Version{3, 8}) {
		t.Error(all)
	}
	if len(client.Batch(background)) != 0 {
		t.Error("an empty batch")
	}
}

// A key stands once in a request, and a request is bounded.
func TestBatchIsParted(t *testing.T) {
	node := newFakeNode(t, echo)
	client := opened(t, Options{Members: []string{node.address()}, Attempt: 5 * time.Second})
	value := make([]byte, 200*1024)
	var operations []Operation
	for i := 0; i < 8; i++ {
		operations = append(operations, Put(fmt.Sprint("key ", i%6), value))
	}
	for i := 0; i < 1500; i++ {
		operations = append(operations, Get(fmt.Sprint("small ", i%700)))
	}
	for i, result := range client.Batch(background, operations...) {
		if result.Err != nil || (i >= 8 && string(result.Value) != operations[i].key) {
			t.Fatal(i, result)
		}
	}
	count := 0
	for _, request := range node.requests() {
		if len(request.Payload) > groupBytesMax*5/4 {
			t.Error(len(request.Payload))
		}
		keys := map[string]bool{}
		for _, operation := range operationsOf(request) {
			if keys[string(operation.Key)] {
				t.Errorf("%s stands twice", operation.Key)
			}
			keys[string(operation.Key)] = true
			count++
		}
	}
	if count != len(operations) {
		t.Error(count)
	}
}

func TestATooLongMessageEndsTheConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	closed := make(chan error)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			header := frameHeader(idFirst|1, messageBytesMax)
			conn.Write(append(helloOfNode[:], header[:]...))
			for err == nil {
				_, err = conn.Read(make([]byte, 100))
			}
			conn.Close()
		}
		closed <- err
	}()
	client := opened(t, Options{Members: []string{listener.Addr().String()}, Lazy: true, Attempt: time.Minute, Timeout: 300 * time.Millisecond})
	_, err = client.Get(background, "key")
	expectError(t, err, Unavailable, NotDone)
	<-closed
}

func TestCall(t *testing.T) {
	node := newFakeNode(t, func(request *chordv1.RpcRequest) *chordv1.RpcResponse {
		if request.Method == "chord.v1.KvService/Nothing" {
			return &chordv1.RpcResponse{Code: chordv1.Code_CODE_UNIMPLEMENTED, Payload: []byte("more"), RetryAfterMs: 7}
		}
		return &chordv1.RpcResponse{Payload: request.Payload}
	})
	client := opened(t, Options{Members: []string{node.address()}})
	payload, err := client.Call(background, "", "chord.v1.KvService/Nothing", nil)
	if failure := expectError(t, err, Unimplemented, NotDone); string(payload) != "more" || failure.RetryAfter != 7*time.Millisecond {
		t.Error(payload, failure)
	}
	if payload, err = client.Call(background, node.address(), "chord.v1.KvService/Get", []byte("x")); err != nil || string(payload) != "x" {
		t.Error(payload, err)
	}
	if client.Requests() != 2 {
		t.Error(client.Requests())
	}
}
