// SPDX-License-Identifier: MIT

// Command conformance runs what the conformance tests of all clients ask for: one JSON object a line
// from the standard input, one answer a line to the standard output, in any order
// (proto/clients/conformance).
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

const lineBytesMax = 64 * 1024 * 1024

type driver struct {
	session session
	running sync.WaitGroup
	lock    sync.Mutex // of the output
	output  *bufio.Writer
}

func main() {
	d := &driver{output: bufio.NewWriter(os.Stdout)}
	err := d.run(bufio.NewReaderSize(os.Stdin, 64*1024))
	d.running.Wait()
	d.session.close()
	if err != nil {
		fmt.Fprintf(os.Stderr, "conformance: %v\n", err)
		os.Exit(1)
	}
}

func (d *driver) run(input *bufio.Reader) error {
	for {
		line, err := readLine(input)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(line) > 0 {
			d.take(line)
		}
	}
}

func readLine(input *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := input.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > lineBytesMax:
			return nil, fmt.Errorf("a line has more than %d bytes", lineBytesMax)
		}
	}
}

// take one request. open and close happen in the order of the lines, all else at the same time.
func (d *driver) take(line []byte) {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		d.answer(asked.ID, invalid("the line cannot be read: %v", err))
		return
	}
	switch asked.Do {
	case "open":
		d.answer(asked.ID, d.session.open(&asked))
	case "close":
		d.answer(asked.ID, d.session.close())
	default:
		client := d.session.client
		d.running.Add(1)
		go func() {
			defer d.running.Done()
			d.answer(asked.ID, perform(client, &asked))
		}()
	}
}

func (d *driver) answer(id json.RawMessage, fields answer) {
	if len(id) > 0 {
		fields["id"] = id
	}
	line, err := json.Marshal(fields)
	if err != nil {
		line = []byte(`{"code":"INTERNAL"}`)
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	d.output.Write(append(line, '\n'))
	if err := d.output.Flush(); err != nil {
		os.Exit(1) // nobody listens any more
	}
}
