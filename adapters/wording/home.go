package wording

import (
	"fmt"

	"github.com/countersign/countersign/adapters"
)

// MsgQueue is above a queue; n requests wait.
func MsgQueue(n int) string {
	switch n {
	case 0:
		return MsgNothingWaits
	case 1:
		return "1 request waits for a decision"
	}
	return fmt.Sprintf("%d requests wait for a decision, the oldest first", n)
}

// MsgNotInQueue follows MsgQueue if n of the requests that wait cannot be
// decided at present, as one that is On Hold.
func MsgNotInQueue(n int) string {
	is := "are"
	if n == 1 {
		is = "is"
	}
	return fmt.Sprintf("%d of them %s not listed here: nobody can decide in the present state. /%s tickets pending lists all", n, is, adapters.CommandName)
}

// MsgMore is below a queue behind which n more requests wait.
func MsgMore(n int) string {
	what := "requests"
	if n == 1 {
		what = "request"
	}
	return fmt.Sprintf("%s, shown here as these are decided. /%s tickets pending lists all", more(n, true, what), adapters.CommandName)
}
