package adapters

import (
	"fmt"
	"strconv"

	"github.com/countersign/countersign/tickets"
)

// Reach is what a platform knows of a principal at the moment.
type Reach struct {
	Name    string // what people call it there, visible and short; empty if the platform does not tell
	People  int    // how many people it is; the bot itself is none of them
	Counted bool   // whether the platform tells how many
	Problem string // why it is nobody, for people, without a full stop; empty if it is somebody
	// Nameless is why the platform does not say who they are, for people, without
	// a full stop; empty if it does. They decide nothing then, unless people may
	// decide their own requests.
	Nameless string
	Err      error // why it could not be found out, for the operator; the rest is empty then
}

// SayReach says what p is, as its platform told r: "@helpdesk
// (slack:group:S1): 12 people".
func SayReach(p tickets.Principal, r Reach) string {
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
	return s + ": " + SayPeople(r.People)
}

// SayPeople is a number of people in words.
func SayPeople(n int) string {
	switch n {
	case 0:
		return "nobody"
	case 1:
		return "1 person"
	}
	return strconv.Itoa(n) + " people"
}
