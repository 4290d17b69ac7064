// SPDX-License-Identifier: MIT

package chord

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// piped is a link whose other end the test holds: nothing is buffered between them.
func piped(t *testing.T) (*link, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := new(sync.WaitGroup)
	l := newLink(ours, ended)
	t.Cleanup(func() {
		l.close(errClientClosed)
		theirs.Close()
		ended.Wait()
	})
	return l, theirs
}

func write(t *testing.T, conn net.Conn, id uint32, body string) {
	t.Helper()
	header := frameHeader(id, len(body))
	if _, err := conn.Write(append(header[:], body...)); err != nil {
		t.Fatal(err)
	}
}

// readRequest takes one request off the link.
func readRequest(t *testing.T, conn net.Conn) uint32 {
	t.Helper()
	id, bodyBytes, err := readHeader(conn)
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, bodyBytes))
	}
	if err != nil || id < idFirst {
		t.Fatal(id, err)
	}
	return id
}

func TestOnlyRequestsThatAreOpenAreAnswered(t *testing.T) {
	l, node := piped(t)
	one, other := l.start([]byte("one"), nil), l.start([]byte("other"), nil)
	for _, x := range []*exchange{one, other} {
		if id := readRequest(t, node); id != x.id {
			t.Errorf("%x, not %x", id, x.id)
		}
	}
	if sent, silent := l.abandon(one); !sent || !silent {
		t.Error(sent, silent)
	}
	write(t, node, one.id, "late")
	write(t, node, idFirst|999, "to nobody")
	write(t, node, other.id, "answer")
	<-other.answered
	if string(other.answer) != "answer" || one.answer != nil {
		t.Errorf("%q %q", other.answer, one.answer)
	}
	if sent, silent := l.abandon(l.start([]byte("x"), nil)); silent && sent {
		t.Error("an answer came a moment ago")
	}
}

func TestWhatWaitsBehindIsUnsent(t *testing.T) {
	l, node := piped(t)
	stuck := l.start(make([]byte, writeBytesMax), nil)
	header := make([]byte, headerBytes)
	if _, err := io.ReadFull(node, header); err != nil { // it is being written
		t.Fatal(err)
	}
	behind, last := l.start([]byte("behind"), nil), l.start([]byte("last"), nil)
	write(t, node, last.id, "before it was asked")
	write(t, node, idFirst|999, "") // is read when the one before was dealt with
	if sent, _ := l.abandon(behind); sent || len(l.waiting) != 1 {
		t.Error(sent, len(l.waiting))
	}
	if _, err := io.ReadFull(node, make([]byte, writeBytesMax)); err != nil {
		t.Fatal(err)
	}
	if id := readRequest(t, node); id != last.id {
		t.Error("what was given up was sent")
	}
	select {
	case <-last.answered:
		t.Error("an answer before the request")
	default:
	}
	l.close(io.EOF)
	<-stuck.answered
	if !errors.Is(stuck.err, errClosed) || l.start(nil, nil) != nil {
		t.Error(stuck.err)
	}
}

func TestARetiredLinkCloses(t *testing.T) {
	l, node := piped(t)
	x := l.start([]byte("x"), nil)
	readRequest(t, node)
	l.retire()
	if l.start([]byte("y"), nil) != nil || !l.busy() {
		t.Error("it takes a further request, or none is open")
	}
	write(t, node, x.id, "answer")
	<-x.answered
	node.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := node.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error("it stays open", err)
	}
}
