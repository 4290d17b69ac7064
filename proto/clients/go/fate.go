// SPDX-License-Identifier: MIT

package chord

import "fmt"

// Code says why an operation ended as it did: the numbers of google.rpc.Code and, from 17 on, this
// protocol's own (chord/v1/envelope.proto). Others may come.
type Code int32

const (
	OK                 Code = 0
	Cancelled          Code = 1
	Unknown            Code = 2
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	AlreadyExists      Code = 6
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Aborted            Code = 10
	OutOfRange         Code = 11
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	DataLoss           Code = 15
	Unauthenticated    Code = 16
	WrongRing          Code = 17
	Challenge          Code = 19
)

// Fate says what became of an operation.
type Fate int

const (
	// Done: carried out, or read.
	Done Fate = iota
	// NotDone: certainly not carried out.
	NotDone
	// MaybeDone: a change may have been carried out, or still may be: seconds later, and after
	// newer changes of the key, unless it has a condition.
	MaybeDone
)

func (f Fate) String() string {
	switch f {
	case Done:
		return "done"
	case NotDone:
		return "not done"
	case MaybeDone:
		return "maybe done"
	}
	return fmt.Sprintf("Fate(%d)", int(f))
}

// again says whether the same request may be sent again.
type again int

const (
	againNever again = iota
	againLater
	againAtOnce
	againAtLeader
	againElsewhere
)

type codeFacts struct {
	name  string
	fate  Fate
	again again
}

// The table of proto/clients/fates.csv; a test holds the one to the other.
var codes = map[Code]codeFacts{
	OK:                 {"OK", Done, againNever},
	Cancelled:          {"CANCELLED", MaybeDone, againLater},
	Unknown:            {"UNKNOWN", MaybeDone, againLater},
	InvalidArgument:    {"INVALID_ARGUMENT", NotDone, againNever},
	DeadlineExceeded:   {"DEADLINE_EXCEEDED", MaybeDone, againLater},
	NotFound:           {"NOT_FOUND", Done, againNever},
	AlreadyExists:      {"ALREADY_EXISTS", NotDone, againNever},
	PermissionDenied:   {"PERMISSION_DENIED", NotDone, againNever},
	ResourceExhausted:  {"RESOURCE_EXHAUSTED", NotDone, againLater},
	FailedPrecondition: {"FAILED_PRECONDITION", NotDone, againNever},
	Aborted:            {"ABORTED", NotDone, againAtOnce},
	OutOfRange:         {"OUT_OF_RANGE", NotDone, againAtLeader},
	Unimplemented:      {"UNIMPLEMENTED", NotDone, againNever},
	Internal:           {"INTERNAL", MaybeDone, againNever},
	Unavailable:        {"UNAVAILABLE", NotDone, againLater},
	DataLoss:           {"DATA_LOSS", NotDone, againNever},
	Unauthenticated:    {"UNAUTHENTICATED", NotDone, againNever},
	WrongRing:          {"WRONG_RING", NotDone, againElsewhere},
	Challenge:          {"CHALLENGE", NotDone, againLater},
}

// facts of a code. One that is not in the table was invented by a newer node: nothing is known.
func (c Code) facts() codeFacts {
	facts, known := codes[c]
	if !known {
		return codeFacts{fmt.Sprintf("CODE_%d", int32(c)), MaybeDone, againNever}
	}
	return facts
}

// String is the code's name in the contract, without CODE_.
func (c Code) String() string {
	return c.facts().name
}
