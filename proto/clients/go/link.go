// SPDX-License-Identifier: MIT

package chord

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// One connection to one node. Any number of requests is open on it; one goroutine writes them, one
// reads the answers, in whatever order they come.

const (
	bufferBytes   = 64 * 1024
	writeBytesMax = 256 * 1024 // that are handed to the socket at a time: what waits behind is unsent
)

var errClosed = errors.New("the node closed the connection")

// exchange is one request and its answer.
type exchange struct {
	id       uint32
	body     []byte
	began    time.Time
	sent     bool // or on its way; with the link's lock held
	counter  *atomic.Uint64
	answered chan struct{} // closed when answer or err is there
	answer   []byte
	err      error
}

type link struct {
	conn  net.Conn
	heard atomic.Int64    // when the last byte came, in Unix nanoseconds
	wake  chan struct{}   // something waits to be written
	over  chan struct{}   // closed with the connection
	ended *sync.WaitGroup // of its goroutines

	lock    sync.Mutex
	nextID  uint32
	open    map[uint32]*exchange
	waiting []*exchange // in the order in which they are written
	retired bool        // no further request; closed when no request is open
	err     error       // why it is closed
}

// dial connects, and greets within the context's time.
func dial(ctx context.Context, address string, ended *sync.WaitGroup) (*link, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	// The greeting ends with the context.
	greeted := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			conn.SetDeadline(time.Unix(1, 0))
		case <-greeted:
		}
	}()
	err = greet(conn)
	close(greeted)
	<-stopped
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return newLink(conn, ended), nil
}

func newLink(conn net.Conn, ended *sync.WaitGroup) *link {
	l := &link{
		conn:  conn,
		wake:  make(chan struct{}, 1),
		over:  make(chan struct{}),
		ended: ended,
		open:  make(map[uint32]*exchange),
	}
	l.heard.Store(time.Now().UnixNano())
	l.ended.Add(2)
	go l.write()
	go l.read()
	return l
}

// start hands a request over; it is written soon. nil: the connection takes no further one.
func (l *link) start(body []byte, counter *atomic.Uint64) *exchange {
	x := &exchange{body: body, began: time.Now(), counter: counter, answered: make(chan struct{})}
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.err != nil || l.retired {
		return nil
	}
	for x.id == 0 || l.open[x.id] != nil {
		l.nextID++
		x.id = idFirst | l.nextID
	}
	l.open[x.id] = x
	l.waiting = append(l.waiting, x)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return x
}

// abandon ends the wait for an answer: one that comes later is dropped. It reports whether the
// request was sent, and whether nothing at all was heard of the node since.
func (l *link) abandon(x *exchange) (sent, silent bool) {
	l.lock.Lock()
	defer l.lock.Unlock()
	delete(l.open, x.id)
	if !x.sent {
		for i, other := range l.waiting {
			if other == x {
				l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
				break
			}
		}
	}
	l.closeIfDone()
	return x.sent, l.heard.Load() < x.began.UnixNano()
}

// retire: no further request; those that are open have their time.
func (l *link) retire() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.retired = true
	l.closeIfDone()
}

func (l *link) closeIfDone() {
	if l.retired && len(l.open) == 0 {
		l.fail(errClosed)
	}
}

func (l *link) busy() bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	return len(l.open) > 0
}

// fail: with the lock held.
func (l *link) fail(why error) {
	if l.err != nil {
		return
	}
	l.err = why
	for id, x := range l.open {
		delete(l.open, id)
		x.err = why
		close(x.answered)
	}
	l.waiting = nil
	close(l.over)
	l.conn.Close()
}

// close ends all requests that are open.
func (l *link) close(why error) {
	if errors.Is(why, io.EOF) {
		why = errClosed
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	l.fail(why)
}

// ---- writing ----

// take gives the next requests to be written. From now on they count as sent.
func (l *link) take(taken []*exchange) []*exchange {
	l.lock.Lock()
	defer l.lock.Unlock()
	bytes, count := 0, 0
	for count < len(l.waiting) && (count == 0 || bytes+len(l.waiting[count].body) <= writeBytesMax) {
		x := l.waiting[count]
		x.sent = true
		if x.counter != nil {
			x.counter.Add(1)
		}
		bytes += len(x.body)
		count++
	}
	taken = append(taken[:0], l.waiting[:count]...)
	left := copy(l.waiting, l.waiting[count:])
	for i := left; i < len(l.waiting); i++ {
		l.waiting[i] = nil
	}
	l.waiting = l.waiting[:left]
	return taken
}

func (l *link) write() {
	defer l.ended.Done()
	out := bufio.NewWriterSize(l.conn, bufferBytes)
	var taken []*exchange
	for {
		select {
		case <-l.wake:
		case <-l.over:
			return
		}
		for {
			taken = l.take(taken)
			if len(taken) == 0 {
				break
			}
			for _, x := range taken {
				header := frameHeader(x.id, len(x.body))
				out.Write(header[:])
				out.Write(x.body)
			}
			if err := out.Flush(); err != nil { // of an earlier Write, too
				l.close(err)
				return
			}
		}
	}
}

// ---- reading ----

// hearing notes when something came.
type hearing struct {
	*link
}

func (h hearing) Read(into []byte) (int, error) {
	count, err := h.conn.Read(into)
	if count > 0 {
		h.heard.Store(time.Now().UnixNano())
	}
	return count, err
}

func (l *link) read() {
	defer l.ended.Done()
	in := bufio.NewReaderSize(hearing{l}, bufferBytes)
	for {
		if err := l.readOne(in); err != nil {
			l.close(err)
			return
		}
	}
}

func (l *link) readOne(in *bufio.Reader) error {
	id, bodyBytes, err := readHeader(in)
	if err != nil {
		return err
	}
	if !l.isOpen(id) { // the late answer to a request that was given up
		_, err := io.CopyN(io.Discard, in, int64(bodyBytes))
		return err
	}
	body := make([]byte, bodyBytes)
	if _, err := io.ReadFull(in, body); err != nil {
		return fmt.Errorf("in the middle of an answer: %w", err)
	}
	l.deliver(id, body)
	return nil
}

func (l *link) isOpen(id uint32) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.open[id] != nil
}

func (l *link) deliver(id uint32, body []byte) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if x := l.open[id]; x != nil && x.sent {
		delete(l.open, id)
		x.answer = body
		close(x.answered)
		l.closeIfDone()
	}
}
