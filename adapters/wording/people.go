package wording

import (
	"fmt"
	"strconv"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// MsgReach says what p is, as its platform told r: "@helpdesk
// (slack:group:S1): 12 people".
func MsgReach(p tickets.Principal, r adapters.Reach) string {
	s := p.String()
	if r.Name != "" {
		s = fmt.Sprintf("%s (%s)", r.Name, p)
	}
	switch {
	case r.Err != nil:
		return s + ": this cannot be read right now"
	case r.Problem != "":
		return s + ": " + r.Problem
	case p.Kind == tickets.User:
		return s
	case !r.Counted:
		return s + ": " + PlatformName(p.Platform) + " does not tell how many people"
	}
	return s + ": " + MsgPeople(r.People)
}

// MsgPeople is a number of people in words.
func MsgPeople(n int) string {
	switch n {
	case 0:
		return "nobody"
	case 1:
		return "1 person"
	}
	return strconv.Itoa(n) + " people"
}
