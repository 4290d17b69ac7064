// SPDX-License-Identifier: MIT

package chord

import (
	"bytes"
	"testing"
	"time"

	"chord.example/dht/chordv1"
	"google.golang.org/protobuf/proto"
)

func TestMacs(t *testing.T) {
	given := vectors(t)
	request, response := new(chordv1.RpcRequest), new(chordv1.RpcResponse)
	if err := proto.Unmarshal(given["signed_request"], request); err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(given["signed_answer"], response); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(macOfRequest(given["key"], request), request.Mac) {
		t.Error("of the request")
	}
	if !bytes.Equal(macOfResponse(given["key"], response), response.Mac) {
		t.Error("of the answer")
	}
}

func TestOpen(t *testing.T) {
	given := vectors(t)
	request := sealed{requestID: []byte{0xa1, 0xa2, 0xa3, 0xa4}}
	response, refusal := open(given["key"], request, given["signed_answer"])
	if refusal != nil || response.ClockMs != 4660 || len(response.Start) != 16 {
		t.Fatal(refusal, response)
	}
	for place := range given["signed_answer"] {
		wrong := append([]byte(nil), given["signed_answer"]...)
		wrong[place] ^= 1
		if _, refusal := open(given["key"], request, wrong); refusal == nil {
			t.Errorf("byte %d was changed, and the answer accepted", place)
		}
	}
	if _, refusal := open(given["key"], request, given["answer"]); refusal == nil || refusal.Code != Unauthenticated {
		t.Error("an answer without a mac", refusal)
	}
	if _, refusal := open(nil, request, given["answer"]); refusal != nil {
		t.Error(refusal)
	}
	if _, refusal := open(nil, sealed{requestID: []byte{1}}, given["answer"]); refusal == nil {
		t.Error("an answer to another request")
	}
}

func TestSeal(t *testing.T) {
	given := vectors(t)
	zero := time.Now().Add(-time.Second)
	to := receiver{start: [16]byte{1: 1, 15: 15}, zero: zero}
	ring := bytes.Repeat([]byte{7}, 16)
	one, refusal := seal(given["key"], ring, to, "chord.v1.KvService/Get", []byte("payload"), 1500*time.Millisecond)
	if refusal != nil {
		t.Fatal(refusal)
	}
	request := new(chordv1.RpcRequest)
	if err := proto.Unmarshal(one.body, request); err != nil {
		t.Fatal(err)
	}
	if request.ProtocolVersion != 1 || request.TimeoutMs != 1500 || len(request.RequestId) != 16 ||
		!bytes.Equal(request.RingId, ring) || !bytes.Equal(request.Receiver, to.start[:]) ||
		request.SentMs < 1000 || request.SentMs > 60000 ||
		!bytes.Equal(request.Mac, macOfRequest(given["key"], request)) {
		t.Error(request)
	}
	other, _ := seal(nil, nil, receiver{}, "chord.v1.KvService/Get", nil, 0)
	request.Reset()
	if err := proto.Unmarshal(other.body, request); err != nil || request.TimeoutMs != 1 || request.Mac != nil ||
		request.Receiver != nil || bytes.Equal(one.requestID, other.requestID) {
		t.Error(err, request)
	}
	if _, refusal := seal(nil, nil, receiver{}, "m", make([]byte, payloadBytesMax+1), 0); refusal == nil || refusal.Code != InvalidArgument {
		t.Error("too large", refusal)
	}
	if _, refusal := seal(nil, nil, receiver{}, "\xff", nil, 0); refusal == nil || refusal.Code != InvalidArgument {
		t.Error("not UTF-8", refusal)
	}
}

func TestCheckRing(t *testing.T) {
	ours, other := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16)
	for _, one := range []struct {
		sent, told []byte
		code       chordv1.Code
		refused    bool
	}{
		{ours, ours, chordv1.Code_CODE_OK, false},
		{ours, other, chordv1.Code_CODE_OK, true},
		{ours, nil, chordv1.Code_CODE_OK, false},
		{ours, other, chordv1.Code_CODE_WRONG_RING, false}, // its own word
		{nil, other, chordv1.Code_CODE_OK, false},          // who are you?
	} {
		refusal := checkRing(sealed{ringID: one.sent}, &chordv1.RpcResponse{Code: one.code, RingId: one.told})
		if (refusal != nil) != one.refused || (refusal != nil && refusal.Code != WrongRing) {
			t.Errorf("%+v: %v", one, refusal)
		}
	}
}
