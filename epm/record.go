package epm

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/countersign/countersign/tickets"
)

// record is a request as EPM lists it: every value by its lower-case name,
// objects flattened by a dot. The names of admin records are not documented,
// so they are looked for, not bound.
type record map[string]string

func readRecord(raw []byte) (record, bool) {
	var v map[string]any
	if json.Unmarshal(raw, &v) != nil || len(v) == 0 {
		return nil, false
	}
	// Some APIs wrap a single record.
	if data, ok := v["data"].(map[string]any); ok && len(v) <= 2 {
		v = data
	}
	rec := record{}
	rec.add("", v, 0)
	return rec, true
}

func (r record) add(prefix string, v map[string]any, depth int) {
	for name, value := range v {
		name = prefix + strings.ToLower(name)
		switch value := value.(type) {
		case map[string]any:
			if depth < 4 {
				r.add(name+".", value, depth+1)
			}
		case string:
			r[name] = value
		case float64:
			r[name] = strconv.FormatFloat(value, 'f', -1, 64)
		}
	}
}

// first returns the first value under names.
func (r record) first(names ...string) string {
	for _, n := range names {
		if v := given(r[n]); v != "" {
			return v
		}
	}
	return ""
}

// is reports whether r is the record of the request id.
func (r record) is(id string) bool {
	for _, n := range []string{"requestid", "id", "itsmrequestid", "serviceticket.systemid", "systemid"} {
		if strings.EqualFold(r[n], id) {
			return true
		}
	}
	return false
}

// outcome is nil if the record shows no decision.
func (r record) outcome() *tickets.Outcome {
	word := r.first("decision", "accessdecision.decision", "accessdecision.status", "status")
	v, raw, decided := verdict(word)
	if !decided || v == tickets.Other {
		// A list may use words of its own for "waiting": only a clear word
		// ends a ticket here. The webhook remains the last word.
		return nil
	}
	o := &tickets.Outcome{
		Verdict: v, Raw: raw,
		Duration: r.first("duration", "accessdecision.duration"),
		By:       r.first("decisionperformedbyuser", "accessdecision.decisionperformedbyuser", "accessdecision.user"),
		AtRaw:    r.first("decisiontime", "accessdecision.decisiontime", "accessdecision.time"),
		Start:    parseTime(r.first("starttime", "accessdecision.starttime")),
		End:      parseTime(r.first("endtime", "accessdecision.endtime")),
	}
	o.At = parseTime(o.AtRaw)
	return o
}
