// SPDX-License-Identifier: MIT

package chord

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The framing of the scalability protocols' request/reply over TCP (proto/README.md, "From the
// socket to the method"): a hello of 8 bytes in both directions, then messages of a length, an id
// and a body.

const (
	headerBytes     = 12              // length (8) and id (4)
	messageBytesMax = 2 * 1024 * 1024 // id and body
	idFirst         = 0x80000000      // ids have their top bit set
)

var (
	helloOfClient = [8]byte{0, 'S', 'P', 0, 0, 0x30, 0, 0}
	helloOfNode   = [8]byte{0, 'S', 'P', 0, 0, 0x31, 0, 0}
)

// greet exchanges the hellos.
func greet(stream io.ReadWriter) error {
	if _, err := stream.Write(helloOfClient[:]); err != nil {
		return err
	}
	var hello [8]byte
	if _, err := io.ReadFull(stream, hello[:]); err != nil {
		return err
	}
	if hello != helloOfNode {
		return fmt.Errorf("it does not speak SP request/reply: it began with % x", hello)
	}
	return nil
}

func frameHeader(id uint32, bodyBytes int) (header [headerBytes]byte) {
	binary.BigEndian.PutUint64(header[:8], uint64(bodyBytes)+4)
	binary.BigEndian.PutUint32(header[8:], id)
	return header
}

// readHeader gives the id and the size of the body that follows.
func readHeader(stream io.Reader) (id uint32, bodyBytes int, err error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(stream, header[:]); err != nil {
		return 0, 0, err
	}
	length := binary.BigEndian.Uint64(header[:8])
	if length < 4 || length > messageBytesMax {
		return 0, 0, fmt.Errorf("a message of %d bytes was announced; 4 to %d are allowed",
			length, messageBytesMax)
	}
	return binary.BigEndian.Uint32(header[8:]), int(length - 4), nil
}
