// SPDX-License-Identifier: MIT

package chord

import (
	"context"
	"fmt"
	"testing"
	"time"

	"chord.example/dht/chordv1"
)

// led is a client that knows who leads every key.
func led(t *testing.T, leader *fakeNode, options Options) *Client {
	t.Helper()
	options.Members = append([]string{leader.address()}, options.Members...)
	client := opened(t, options)
	whole := span{"\x00\x00\x00\x00", "\x00\x00\x00\x00"}
	client.hints.learn(hint{span: whole, epoch: 1, address: leader.address()})
	return client
}

// gets of so many keys at the same time.
func gets(client *Client, ctx context.Context, many int) chan error {
	errs := make(chan error, many)
	for i := 0; i < many; i++ {
		go func(key string) {
			found, err := client.Get(ctx, key)
			if err == nil && string(found.Value) != key {
				err = fmt.Errorf("%s for %s", found.Value, key)
			}
			errs <- err
		}(fmt.Sprint("key ", i))
	}
	return errs
}

// lines is how many ways are in use, and how many gets wait.
func lines(client *Client) (ways, waiting int) {
	client.together.lock.Lock()
	defer client.together.lock.Unlock()
	for _, of := range client.together.ways {
		waiting += len(of.waiting)
	}
	return len(client.together.ways), waiting
}

func expectNoLines(t *testing.T, client *Client) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) { // a moment after the last answer
		ways, _ := lines(client)
		if ways == 0 {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal(ways, "ways are in use")
		}
	}
}

func awaitWaiting(t *testing.T, client *Client, many int) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		_, waiting := lines(client)
		if waiting == many {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal(waiting, "wait, not", many)
		}
	}
}

func TestGetsThatWaitTravelTogether(t *testing.T) {
	goOn := make(chan bool)
	node := newFakeNode(t, func(request *chordv1.RpcRequest) *chordv1.RpcResponse {
		if len(operationsOf(request)) == 1 {
			<-goOn
		}
		return echo(request)
	})
	client := led(t, node, Options{Attempt: time.Minute, Timeout: time.Minute})
	const many = togetherMax + 50
	errs := gets(client, background, many+togetherOut)
	awaitWaiting(t, client, many)
	close(goOn)
	for i := 0; i < many+togetherOut; i++ {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if client.Requests() > togetherOut+4 {
		t.Error(client.Requests())
	}
	for _, operations := range node.operations() {
		if len(operations) > togetherMax {
			t.Error(len(operations))
		}
	}
	expectNoLines(t, client)
}

func TestGetsThatWaitForASilentNode(t *testing.T) {
	silent := newFakeNode(t, func(*chordv1.RpcRequest) *chordv1.RpcResponse { return nil })
	node := newFakeNode(t, echo)
	client := led(t, silent, Options{Members: []string{node.address()}, Attempt: 300 * time.Millisecond})
	errs := gets(client, background, 20)
	for i := 0; i < 20; i++ {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if len(silent.requests()) > 2*togetherOut {
		t.Error("each waited for the silent node", len(silent.requests()))
	}
	expectNoLines(t, client)
}

func TestGetsThatWaitForANodeThatEnds(t *testing.T) {
	leader, arrived := waitingNode(t)
	node := newFakeNode(t, echo)
	client := led(t, leader, Options{Members: []string{node.address()}, Attempt: time.Minute, Timeout: 10 * time.Second})
	errs := gets(client, background, togetherOut+5)
	for i := 0; i < togetherOut; i++ {
		<-arrived
	}
	awaitWaiting(t, client, 5)
	leader.close()
	for i := 0; i < togetherOut+5; i++ {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestOneThatWaitsLeaves(t *testing.T) {
	node, arrived := waitingNode(t)
	client := led(t, node, Options{Attempt: time.Minute, Timeout: time.Minute})
	first, end := context.WithCancel(background)
	defer end()
	errs := gets(client, first, togetherOut)
	for i := 0; i < togetherOut; i++ {
		<-arrived
	}
	ctx, cancel := context.WithCancel(background)
	leaving := gets(client, ctx, 1)
	awaitWaiting(t, client, 1)
	staying := gets(client, background, 1)
	awaitWaiting(t, client, 2)
	cancel()
	expectError(t, <-leaving, Cancelled, NotDone)
	awaitWaiting(t, client, 1)
	end() // says nothing of the node: the one that stays is sent
	<-arrived
	for i := 0; i < togetherOut; i++ {
		expectError(t, <-errs, Cancelled, NotDone)
	}
	if client.hints.find("\x01\x00\x00\x00").address != node.address() || client.Requests() != togetherOut+1 {
		t.Error("a node was blamed for its callers' haste", client.Requests())
	}
	client.Close()
	expectError(t, <-staying, Unavailable, NotDone)
}

func TestNoRoomForAllValues(t *testing.T) {
	node := newFakeNode(t, func(request *chordv1.RpcRequest) *chordv1.RpcResponse {
		operations := operationsOf(request)
		answer := echo(request)
		if len(operations) == 1 {
			return answer
		}
		var all []*chordv1.OperationResult
		for i, operation := range operations {
			told := result(chordv1.Code_CODE_RESOURCE_EXHAUSTED, Version{})
			if i == 0 {
				told = result(chordv1.Code_CODE_OK, Version{1, 1})
				told.Value = operation.Key
			}
			all = append(all, told)
		}
		answer = results(all...)
		answer.RetryAfterMs = 60_000 // not meant for what only had no room
		return answer
	})
	client := led(t, node, Options{Attempt: 10 * time.Second})
	errs := gets(client, background, 100)
	for i := 0; i < 100; i++ {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
