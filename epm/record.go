package epm

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/tickets"
)

// record is a request as EPM lists it: every value by its name in small
// letters, objects flattened with a dot, null as an empty text. The names of
// admin records are not documented, so they are looked for, not bound.
type record map[string]string

// findRecord finds the record of the request id in what EPM answers when it
// is asked for it: the record, or an array with it.
func findRecord(raw []byte, id string) (record, bool) {
	list := []json.RawMessage{raw}
	if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && trimmed[0] == '[' && json.Unmarshal(trimmed, &list) != nil {
		return nil, false
	}
	for _, raw := range list {
		if rec, ok := readRecord(raw); ok && rec.is(id) {
			return rec, true
		}
	}
	return nil, false
}

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
		case nil:
			r[name] = ""
		case string:
			r[name] = value
		case float64:
			r[name] = strconv.FormatFloat(value, 'f', -1, 64)
		}
	}
}

// first returns the first value given under names.
func (r record) first(names ...string) string {
	for _, n := range names {
		if v := givenText(r[n]); v != "" {
			return v
		}
	}
	return ""
}

// time is the first time given under names, or EPM's text if it cannot be read.
func (r record) time(names ...string) (time.Time, string) {
	text := r.first(names...)
	if t := parseTime(text); !t.IsZero() {
		return t, ""
	}
	return time.Time{}, text
}

// is reports whether r is the record of the request id.
func (r record) is(id string) bool {
	want := identifier(id)
	return want != "" && slices.ContainsFunc(recordIDs, func(n string) bool { return identifier(r[n]) == want })
}

// outcome says what r tells of the decision: nil if it is undecided, and
// false if r has no word for it that is known. Nothing may be concluded from
// a record that cannot be read: the caller would send a decision twice.
func (r record) outcome() (*tickets.Outcome, bool) {
	waits := false
	for _, n := range recordDecisions {
		word, ok := r[n]
		if !ok {
			continue
		}
		v, _, decided := verdict(givenText(word))
		switch {
		case !decided:
			waits = true
		case v != tickets.Other:
			o := &tickets.Outcome{
				Verdict:  v,
				Duration: r.first("duration", "accessdecision.duration"),
				By:       r.first("decisionperformedbyuser", "accessdecision.decisionperformedbyuser"),
				AtRaw:    r.first("decisiontime", "accessdecision.decisiontime"),
			}
			o.At = parseTime(o.AtRaw)
			o.Start, o.StartRaw = r.time("starttime", "accessdecision.starttime")
			o.End, o.EndRaw = r.time("endtime", "accessdecision.endtime")
			return o, true
		default:
			return nil, false
		}
	}
	return nil, waits
}
