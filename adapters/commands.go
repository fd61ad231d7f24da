package adapters

import (
	"strings"
)

// CommandName is the slash command, on every platform.
const CommandName = "epm"

// CommandSpec is one word of the slash command: /epm NAME and what follows.
type CommandSpec struct {
	Name  string
	Help  string // what it does, for people, without a full stop
	Admin bool   // only for admins
	Open  bool   // for everybody: it shows nothing of requests
	Args  []Arg
}

// Arg is what may follow a word. Arguments stand in their order; an optional
// one stands behind those that are required.
type Arg struct {
	Name     string // one word, lower case
	Help     string
	Required bool
	Choices  []string // the values that there are; nil for any
	Complete bool     // values are suggested while it is typed; see [Handler]
}

// Usage is how w is typed: "tickets [pending|final]", "state NUMBER STATE".
func (w CommandSpec) Usage() string {
	s := w.Name
	for _, a := range w.Args {
		shown := strings.ToUpper(a.Name)
		if a.Choices != nil {
			shown = strings.Join(a.Choices, "|")
		}
		if !a.Required {
			shown = "[" + shown + "]"
		}
		s += " " + shown
	}
	return s
}
