package tickets

import (
	"strings"
	"unicode"

	"github.com/countersign/countersign/tickets/selfcheck"
)

// maxPerformer bounds the name that EPM is told, in runes. EPM states no limit;
// the platforms' own are below it.
const maxPerformer = 120

// Performer is what EPM is told of who decided: the identifier, which proves it,
// and then the name that people know, "slack:U1 Ann Example". People choose
// their names, and EPM shows this text and may put it into a webhook without
// escaping: what nobody sees, turns text around, ends a JSON text or could pass
// for a second identifier in brackets is a blank.
func (a Actor) Performer() string {
	name := strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) || selfcheck.Hidden(r) || r == brailleBlank || r == '"' || r == '\\' || unicode.In(r, unicode.Ps, unicode.Pe) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(a.Name, " "))
	all := []rune(strings.Join(append([]string{a.String()}, strings.Fields(name)...), " "))
	return strings.TrimSpace(string(all[:min(len(all), maxPerformer)]))
}

// brailleBlank counts as graphic and shows nothing.
const brailleBlank = 0x2800

// Confirms reports whether o, which EPM recorded of t, is the decision d that
// was made here: EPM has acknowledged it, or its answer was lost and o has the
// same verdict and the very name under which it was sent. What a request says
// that may forge EPM's fields confirms nothing in that way.
func (t *Ticket) Confirms(o *Outcome, d *Decision) bool {
	switch {
	case o == nil || d == nil || o.Verdict != d.Verdict:
		return false
	case !t.Sending.Done.IsZero():
		return true
	case t.Decision == nil || !t.stands(*d) || o.Imitates || t.Request == nil || t.Request.SuspectedForgery:
		return false
	}
	return t.Sending.As != "" && o.By == t.Sending.As
}
