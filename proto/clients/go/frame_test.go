// SPDX-License-Identifier: MIT

package chord

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// stream writes into one buffer and reads from another.
type stream struct {
	io.Reader
	written bytes.Buffer
}

func (s *stream) Write(data []byte) (int, error) {
	return s.written.Write(data)
}

func TestGreet(t *testing.T) {
	node := &stream{Reader: iotest.OneByteReader(bytes.NewReader([]byte("\x00SP\x00\x00\x31\x00\x00")))}
	if err := greet(node); err != nil || node.written.String() != "\x00SP\x00\x00\x30\x00\x00" {
		t.Errorf("%v, wrote % x", err, node.written.Bytes())
	}
	for _, hello := range []string{"\x00SP\x00\x00\x30\x00\x00", "HTTP/1.1 400 Bad Request", "\x00SP\x00"} {
		if err := greet(&stream{Reader: strings.NewReader(hello)}); err == nil {
			t.Errorf("%q was taken for a node", hello)
		}
	}
}

// The example of proto/README.md.
func TestHeader(t *testing.T) {
	given := vectors(t)
	header := frameHeader(0x80000001, len(given["request"]))
	if text := hex.EncodeToString(header[:]); text != "000000000000003080000001" {
		t.Error(text)
	}
	message := append(header[:], given["request"]...)
	id, bodyBytes, err := readHeader(iotest.OneByteReader(bytes.NewReader(message)))
	if id != 0x80000001 || bodyBytes != len(given["request"]) || err != nil {
		t.Error(id, bodyBytes, err)
	}
	if _, _, err := readHeader(bytes.NewReader(message[:11])); err == nil {
		t.Error("a header that ends early")
	}
}

func TestHeaderLimits(t *testing.T) {
	for length, fine := range map[uint64]bool{
		3: false, 4: true, 2 * 1024 * 1024: true, 2*1024*1024 + 1: false, 1 << 63: false, 0: false,
	} {
		header := frameHeader(idFirst, 0)
		for i := range header[:8] {
			header[i] = byte(length >> (56 - 8*i))
		}
		if _, _, err := readHeader(bytes.NewReader(header[:])); (err == nil) != fine {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}
