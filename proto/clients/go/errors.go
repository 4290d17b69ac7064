// SPDX-License-Identifier: MIT

package chord

import (
	"fmt"
	"time"
)

// Error says why an operation failed, and what became of it. Every error of a Client is one:
//
//	var failure *chord.Error
//	if errors.As(err, &failure) && failure.Fate == chord.MaybeDone { ... }
type Error struct {
	Code       Code
	Fate       Fate
	Message    string        // one sentence for people; may be empty
	RetryAfter time.Duration // above 0: the same operation may succeed after that time
	Version    Version       // FailedPrecondition: of the value that stood in the way, if there is one
	Missing    []string      // Unavailable: members of the key's range that do not answer
	cause      error
}

// ErrNotFound is what Get returns of a key without a value: errors.Is(err, chord.ErrNotFound).
var ErrNotFound = &Error{Code: NotFound, Fate: Done, Message: "the key has no value"}

func (e *Error) Error() string {
	text := "chord: " + e.Code.String()
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Fate == Done {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, e.Fate)
}

// Is an error of the same code: errors.Is(err, &chord.Error{Code: chord.Unavailable}).
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Unwrap gives the context's error, where the context ended the operation.
func (e *Error) Unwrap() error {
	return e.cause
}

// refused is a local refusal: no request was sent.
func refused(code Code, format string, arguments ...any) *Error {
	return &Error{Code: code, Fate: NotDone, Message: fmt.Sprintf(format, arguments...)}
}
