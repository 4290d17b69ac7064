// SPDX-License-Identifier: MIT

package chord

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"chord.example/dht/chordv1"
	"google.golang.org/protobuf/proto"
)

// fakeNode speaks the protocol and answers batches as a test wants it.
type fakeNode struct {
	t        *testing.T
	listener net.Listener
	began    time.Time
	answer   func(*chordv1.RpcRequest) *chordv1.RpcResponse // nil: none; not asked for GetServerInfo

	running sync.WaitGroup
	lock    sync.Mutex
	is      identity
	conns   []net.Conn
	heard   []*chordv1.RpcRequest // all but GetServerInfo
}

type identity struct {
	hello, ringID, start, key []byte
}

var testRing = bytes.Repeat([]byte{9}, 16)

func newFakeNode(t *testing.T, answer func(*chordv1.RpcRequest) *chordv1.RpcResponse) *fakeNode {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	node := &fakeNode{t: t, listener: listener, began: time.Now(), answer: answer,
		is: identity{hello: helloOfNode[:], ringID: testRing, start: bytes.Repeat([]byte{5}, 16)}}
	node.running.Add(1)
	go node.accept()
	t.Cleanup(node.close)
	return node
}

func (n *fakeNode) address() string {
	return n.listener.Addr().String()
}

func (n *fakeNode) identity() identity {
	n.lock.Lock()
	defer n.lock.Unlock()
	return n.is
}

func (n *fakeNode) change(how func(*identity)) {
	n.lock.Lock()
	defer n.lock.Unlock()
	how(&n.is)
}

func (n *fakeNode) close() {
	n.listener.Close()
	n.hangUp()
	n.running.Wait()
}

// hangUp closes all connections.
func (n *fakeNode) hangUp() {
	n.lock.Lock()
	defer n.lock.Unlock()
	for _, conn := range n.conns {
		conn.Close()
	}
}

func (n *fakeNode) connections() int {
	n.lock.Lock()
	defer n.lock.Unlock()
	return len(n.conns)
}

func (n *fakeNode) requests() []*chordv1.RpcRequest {
	n.lock.Lock()
	defer n.lock.Unlock()
	return append([]*chordv1.RpcRequest(nil), n.heard...)
}

func (n *fakeNode) accept() {
	defer n.running.Done()
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.lock.Lock()
		n.conns = append(n.conns, conn)
		n.lock.Unlock()
		n.running.Add(1)
		go n.serve(conn)
	}
}

func (n *fakeNode) serve(conn net.Conn) {
	defer n.running.Done()
	defer conn.Close()
	conn.Write(n.identity().hello)
	in := bufio.NewReader(conn)
	if _, err := io.ReadFull(in, make([]byte, 8)); err != nil {
		return
	}
	var writing sync.Mutex
	for {
		id, bodyBytes, err := readHeader(in)
		body := make([]byte, bodyBytes)
		if err == nil {
			_, err = io.ReadFull(in, body)
		}
		if err != nil {
			return
		}
		n.running.Add(1)
		go func() {
			defer n.running.Done()
			n.respond(conn, &writing, id, body)
		}()
	}
}

func (n *fakeNode) respond(conn net.Conn, writing *sync.Mutex, id uint32, body []byte) {
	request := new(chordv1.RpcRequest)
	if err := proto.Unmarshal(body, request); err != nil {
		n.t.Error(err)
		return
	}
	is := n.identity()
	response := n.word(is, request)
	if response == nil {
		return
	}
	response.ProtocolVersion, response.RequestId = 1, request.RequestId
	if response.RingId == nil {
		response.RingId = is.ringID
	}
	response.Start, response.ClockMs = is.start, uint64(time.Since(n.began).Milliseconds())
	if is.key != nil {
		response.Mac = macOfResponse(is.key, response)
	}
	packed, _ := proto.Marshal(response)
	header := frameHeader(id, len(packed))
	writing.Lock()
	defer writing.Unlock()
	conn.Write(append(header[:], packed...))
}

func (n *fakeNode) word(is identity, request *chordv1.RpcRequest) *chordv1.RpcResponse {
	if is.key != nil {
		if !bytes.Equal(request.Mac, macOfRequest(is.key, request)) {
			return &chordv1.RpcResponse{Code: chordv1.Code_CODE_UNAUTHENTICATED}
		}
		if !bytes.Equal(request.Receiver, is.start) {
			n.hear(request)
			return &chordv1.RpcResponse{Code: chordv1.Code_CODE_CHALLENGE}
		}
	}
	if request.Method == methodInfo {
		if len(request.RingId) != 0 {
			n.t.Error("who a node is was asked of one ring only")
		}
		return packed(&chordv1.GetServerInfoResponse{Parameters: &chordv1.RingParameters{
			RingId: is.ringID, M: 32, N: 3, Replicas: 3}})
	}
	n.hear(request)
	return n.answer(request)
}

func (n *fakeNode) hear(request *chordv1.RpcRequest) {
	n.lock.Lock()
	defer n.lock.Unlock()
	n.heard = append(n.heard, request)
}

// operations of each batch that was heard.
func (n *fakeNode) operations() [][]*chordv1.Operation {
	var all [][]*chordv1.Operation
	for _, request := range n.requests() {
		all = append(all, operationsOf(request))
	}
	return all
}

func operationsOf(request *chordv1.RpcRequest) []*chordv1.Operation {
	batch := new(chordv1.BatchRequest)
	if err := proto.Unmarshal(request.Payload, batch); err != nil {
		panic(err)
	}
	return batch.Operations
}

func packed(message proto.Message) *chordv1.RpcResponse {
	payload, err := proto.Marshal(message)
	if err != nil {
		panic(err)
	}
	return &chordv1.RpcResponse{Payload: payload}
}

// results is an answer to a batch.
func results(all ...*chordv1.OperationResult) *chordv1.RpcResponse {
	return packed(&chordv1.BatchResponse{Results: all})
}

func result(code chordv1.Code, version Version) *chordv1.OperationResult {
	told := &chordv1.OperationResult{Code: code}
	if !version.IsZero() {
		told.Version = versionMessage(version)
	}
	return told
}

// echo answers gets with their key, and does all else.
func echo(request *chordv1.RpcRequest) *chordv1.RpcResponse {
	var all []*chordv1.OperationResult
	for _, operation := range operationsOf(request) {
		told := result(chordv1.Code_CODE_OK, Version{1, 1})
		if operation.Kind == chordv1.OperationKind_OPERATION_KIND_GET {
			told.Value = operation.Key
		}
		all = append(all, told)
	}
	return results(all...)
}

// inTurn answers each request with the next one of the words; nil: not at all.
func inTurn(words ...*chordv1.RpcResponse) func(*chordv1.RpcRequest) *chordv1.RpcResponse {
	var lock sync.Mutex
	next := 0
	return func(*chordv1.RpcRequest) *chordv1.RpcResponse {
		lock.Lock()
		defer lock.Unlock()
		next++
		if next > len(words) {
			return &chordv1.RpcResponse{Code: chordv1.Code_CODE_INTERNAL, Message: "nothing more was expected"}
		}
		return words[next-1]
	}
}

// opened is a client that is closed with the test; nothing of it may be left then.
func opened(t *testing.T, options Options) *Client {
	t.Helper()
	if options.Attempt == 0 {
		options.Attempt = 100 * time.Millisecond
	}
	client, err := Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		expectNoGoroutines(t)
	})
	return client
}

// expectNoGoroutines of a client: they have ended when Close returns. Their number changes with the
// fake nodes, so they are looked for by name.
func expectNoGoroutines(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, own := range []string{"chord.(*link)", "chord.(*nodes)", "chord.(*Client).drive", "chord.dial"} {
		if bytes.Contains(stacks, []byte(own)) {
			t.Errorf("%s still runs after Close:\n%s", own, stacks)
			return
		}
	}
}
