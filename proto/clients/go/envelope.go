// SPDX-License-Identifier: MIT

package chord

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"chord.example/dht/chordv1"
	"google.golang.org/protobuf/proto"
)

// The envelope of a request and of its answer, and the MAC that both carry where the ring has a key
// (proto/README.md, "The MAC").

const (
	protocolVersion = 1
	payloadBytesMax = 1024*1024 + 64*1024
)

// receiver is what a node has told of its process: a signed request names both.
type receiver struct {
	start [16]byte  // zeros: nothing was told yet
	zero  time.Time // when its clock was at 0, by ours
}

func (r receiver) sentMs(now time.Time) uint64 {
	if r.zero.IsZero() || now.Before(r.zero) {
		return 0
	}
	return uint64(now.Sub(r.zero).Milliseconds())
}

// sealed is a request in its envelope.
type sealed struct {
	body      []byte
	requestID []byte
	ringID    []byte
}

// timeoutMs is at least 1, since 0 stands for the node's default.
func timeoutMs(timeout time.Duration) uint32 {
	const most = 600_000
	switch ms := timeout.Milliseconds(); {
	case ms < 1:
		return 1
	case ms > most:
		return most
	default:
		return uint32(ms)
	}
}

func seal(key, ringID []byte, to receiver, method string, payload []byte, timeout time.Duration) (sealed, *Error) {
	if len(payload) > payloadBytesMax {
		return sealed{}, refused(InvalidArgument, "the request has %d bytes; at most %d are allowed",
			len(payload), payloadBytesMax)
	}
	request := &chordv1.RpcRequest{
		ProtocolVersion: protocolVersion,
		Method:          method,
		RequestId:       make([]byte, 16),
		TimeoutMs:       timeoutMs(timeout),
		Payload:         payload,
		RingId:          ringID,
	}
	if _, err := rand.Read(request.RequestId); err != nil {
		return sealed{}, refused(ResourceExhausted, "the system gives no random numbers: %v", err)
	}
	if len(key) > 0 {
		request.Receiver = to.start[:]
		request.SentMs = to.sentMs(time.Now())
		request.Mac = macOfRequest(key, request)
	}
	body, err := proto.Marshal(request)
	if err != nil { // a method that is not UTF-8
		return sealed{}, refused(InvalidArgument, "the request cannot be packed: %v", err)
	}
	return sealed{body, request.RequestId, ringID}, nil
}

// open gives the answer in body, checked: it is of a holder of the key and belongs to the request.
// Its code may be any. Whether it is of the right ring is checkRing's business.
func open(key []byte, request sealed, body []byte) (*chordv1.RpcResponse, *Error) {
	response := new(chordv1.RpcResponse)
	if err := proto.Unmarshal(body, response); err != nil {
		return nil, refused(Internal, "the answer cannot be read: %v", err)
	}
	if len(key) > 0 && !hmac.Equal(macOfResponse(key, response), response.Mac) {
		return nil, refused(Unauthenticated, "the answer's mac is wrong: another ring key?")
	}
	ok := response.Code == chordv1.Code_CODE_OK
	if !bytes.Equal(response.RequestId, request.requestID) && (ok || len(response.RequestId) > 0) {
		return nil, refused(Internal, "the answer belongs to another request")
	}
	return response, nil
}

// checkRing refuses what a node of another ring answered. An error of a node that is in no ring, or
// no longer in this one, is its own word.
func checkRing(request sealed, response *chordv1.RpcResponse) *Error {
	foreign := len(response.RingId) > 0 && !bytes.Equal(response.RingId, request.ringID)
	if len(request.ringID) > 0 && foreign && response.Code == chordv1.Code_CODE_OK {
		return refused(WrongRing, "it belongs to ring %x, this client to ring %x", response.RingId,
			request.ringID)
	}
	return nil
}

func receiverOf(response *chordv1.RpcResponse, now time.Time) (receiver, error) {
	var told receiver
	if len(response.Start) != len(told.start) || response.ClockMs > 1<<43 {
		return receiver{}, fmt.Errorf("start has %d bytes, clock_ms is %d", len(response.Start), response.ClockMs)
	}
	copy(told.start[:], response.Start)
	told.zero = now.Add(-time.Duration(response.ClockMs) * time.Millisecond)
	return told, nil
}

// ---- the MAC: fields, not the packed message ----

type fields struct {
	hash.Hash
}

func (f fields) number(n uint32) {
	var packed [4]byte
	binary.BigEndian.PutUint32(packed[:], n)
	f.Write(packed[:])
}

func (f fields) long(n uint64) {
	var packed [8]byte
	binary.BigEndian.PutUint64(packed[:], n)
	f.Write(packed[:])
}

func (f fields) bytes(data []byte) {
	f.number(uint32(len(data)))
	f.Write(data)
}

func (f fields) text(text string) {
	f.bytes([]byte(text))
}

// The first field names the kind of envelope, so that an answer never passes as a request.
func macOfRequest(key []byte, request *chordv1.RpcRequest) []byte {
	mac := fields{hmac.New(sha256.New, key)}
	mac.text("chord.v1.RpcRequest")
	mac.number(request.ProtocolVersion)
	mac.text(request.Method)
	mac.bytes(request.RequestId)
	mac.number(request.TimeoutMs)
	mac.bytes(request.Payload)
	mac.bytes(request.RingId)
	mac.bytes(request.Receiver)
	mac.long(request.SentMs)
	return mac.Sum(nil)
}

func macOfResponse(key []byte, response *chordv1.RpcResponse) []byte {
	mac := fields{hmac.New(sha256.New, key)}
	mac.text("chord.v1.RpcResponse")
	mac.number(response.ProtocolVersion)
	mac.bytes(response.RequestId)
	mac.number(uint32(response.Code))
	mac.text(response.Message)
	mac.number(response.RetryAfterMs)
	mac.bytes(response.Payload)
	mac.bytes(response.RingId)
	mac.bytes(response.Start)
	mac.long(response.ClockMs)
	return mac.Sum(nil)
}
