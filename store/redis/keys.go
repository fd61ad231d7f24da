package redis

import (
	"strconv"
	"strings"

	"github.com/countersign/countersign/tickets"
)

// keys names everything that is kept of one tenant. It is the tenant's
// prefix, {countersign:TENANT}: with its braces, so that a Cluster keeps all
// of a tenant in one slot. The package comment says what is in each key.
type keys string

func keysOf(tenant string) keys { return keys("{countersign:" + tenant + "}:") }

func (k keys) schema() string                      { return string(k) + "schema" }
func (k keys) ping() string                        { return string(k) + "ping" }
func (k keys) seq() string                         { return string(k) + "seq" }
func (k keys) request(id tickets.RequestID) string { return string(k) + "request:" + string(id) }
func (k keys) tickets() string                     { return string(k) + "tickets" }
func (k keys) progress(p tickets.Progress) string  { return string(k) + "tickets:" + string(p) }
func (k keys) lanes() string                       { return string(k) + "lanes" }
func (k keys) due(l tickets.Lane) string           { return k.dues() + string(l) }
func (k keys) leases(l tickets.Lane) string        { return string(k) + "leases:" + string(l) }
func (k keys) incoming(id string) string           { return k.everyIncoming() + id }
func (k keys) incomings() string                   { return string(k) + "incomings" }
func (k keys) incomingsOf(s tickets.Status) string { return string(k) + "incomings:" + string(s) }
func (k keys) ticket(seq int64) string             { return k.everyTicket() + strconv.FormatInt(seq, 10) }
func (k keys) settings() string                    { return string(k) + "settings" }
func (k keys) changes() string                     { return string(k) + "changes" }
func (k keys) retired() string                     { return string(k) + "retired" }
func (k keys) marks() string                       { return string(k) + "marks" }
func (k keys) hold(name string) string             { return string(k) + "hold:" + name }
func (k keys) once(key string) string              { return string(k) + "once:" + key }
func (k keys) count(name string) string            { return string(k) + "count:" + name }
func (k keys) pace(limit string) string            { return string(k) + "pace:" + limit }
func (k keys) shut(lane string) string             { return string(k) + "shut:" + lane }

// What scripts complete themselves, with a number, a lane or an id that they
// have just read. The result is in the slot of their first key.
func (k keys) everyTicket() string   { return string(k) + "ticket:" }
func (k keys) everyIncoming() string { return string(k) + "incoming:" }
func (k keys) dues() string          { return string(k) + "due:" }

// laneText is how a ticket's record names the lanes it is in.
func laneText(lanes []tickets.Lane) string {
	var s strings.Builder
	for i, l := range lanes {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(string(l))
	}
	return s.String()
}

func lanesOf(text string) []tickets.Lane {
	var lanes []tickets.Lane
	for l := range strings.FieldsSeq(text) {
		lanes = append(lanes, tickets.Lane(l))
	}
	return lanes
}
