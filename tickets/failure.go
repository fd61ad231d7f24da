package tickets

import (
	"errors"
	"fmt"
	"time"
)

// Class says what is known about a call that failed, and so what to do next.
type Class string

// The classes of failure.
const (
	// Unavailable: the call had no effect and may be repeated later.
	Unavailable Class = "unavailable"
	// RateLimited: the neighbour asked to wait; the call had, most likely, no
	// effect. See Failure.RetryAfter.
	RateLimited Class = "rate_limited"
	// Ambiguous: the call may have had its effect. Look before repeating what
	// must not happen twice.
	Ambiguous Class = "ambiguous"
	// Rejected: no effect, and repeating the same call is useless.
	Rejected Class = "rejected"
	// Unauthorized: the neighbour does not accept our credentials or permissions.
	// No effect; an admin must act.
	Unauthorized Class = "unauthorized"
	// NotFound: the place or message no longer exists for us.
	NotFound Class = "not_found"
)

// Failure is a failed call to EPM or to a chat, as the loop needs to know it.
// Neither its text nor Say ever holds a secret or a neighbour's raw answer.
type Failure struct {
	Class        Class
	RetryAfter   time.Duration // how long to wait at least; 0 if not said
	UserMessage  string        // what to tell people; empty if it does not concern them
	Stays        bool          // of Gone: the message is there, and can only not be changed any more
	ChannelFault bool          // the place itself cannot be used, whatever the ticket; an admin may mend it
	Err          error         // for the operator
}

// Error is for the operator.
func (f *Failure) Error() string {
	if f.Err == nil {
		return string(f.Class)
	}
	return fmt.Sprintf("%s: %v", f.Class, f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// FailureOf returns the failure in err. An error that is none says nothing
// about its effect and is Unclear.
func FailureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Class: Ambiguous, Err: err}
}
