package main

import (
	"strconv"
	"strings"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// The Common Event Format, version 0 (ArcSight CEF Implementation Standard,
// revision 25): a header whose parts are separated by |, and an extension of
// key=value pairs. Lengths are those of its dictionary, in characters.

// cefField is a pair of the extension.
type cefField struct {
	key   string
	limit int
	value func(record) string
}

// cefFields are documented in docs/audit.md, which a test compares.
var cefFields = []cefField{
	{"rt", 20, func(r record) string { return strconv.FormatInt(r.at.UnixMilli(), 10) }},
	{"externalId", 40, func(r record) string { return r.of }},
	{"cn1", 20, func(r record) string { return strconv.Itoa(r.n) }},
	{"act", 63, record.verdict},
	{"suid", 1023, func(r record) string { return who(r.by) }},
	{"suser", 1023, func(r record) string { return r.by.Name }},
	{"duser", 1023, record.epmBy},
	{"reason", 1023, record.reason},
	{"msg", 1023, func(r record) string {
		if r.Change != nil {
			return r.change.Key + ": " + orEmpty(r.change.Old) + " -> " + orEmpty(r.change.New)
		}
		return r.text
	}},
	{"cs1", 4000, func(r record) string { return r.hash }},
	{"cs2", 4000, func(r record) string { return string(r.ID) }},
	{"cs3", 4000, record.place},
	{"cs4", 4000, func(r record) string { return string(r.event.State) }},
	{"cs5", 4000, func(r record) string { return r.event.Source.Incoming }},
	{"cs6", 4000, func(r record) string { return r.event.Source.Body }},
}

// cefLabels name the fields that have no name of their own.
var cefLabels = map[string]string{
	"cn1": "event", "cs1": "hash", "cs2": "requestId", "cs3": "place", "cs4": "state", "cs5": "incoming", "cs6": "bodySha256",
}

// cefSeverity is how much a SIEM should care, of 10; 3 for what is not named.
var cefSeverity = map[string]int{
	string(tickets.EventDecided): 5, string(tickets.EventOutcome): 5, string(tickets.EventRefused): 6, string(tickets.EventNotPermitted): 6,
	string(tickets.EventAccessDenied): 6, string(tickets.EventDeliveryAbandoned): 6, string(tickets.EventsSuppressed): 7, string(tickets.EventDamaged): 8, string(tickets.EventAccepted): 8, settingChanged: 6,
}

var (
	cefHeader    = strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	cefExtension = strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`)
)

// cefText is s with what cannot be seen made visible, and its line breaks
// kept.
func cefText(s string, limit int) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = wording.Line(l)
	}
	return wording.Cut(strings.Trim(strings.Join(lines, "\n"), "\n"), limit)
}

func (o *printer) recordCEF(r record) {
	severity, ok := cefSeverity[r.kind]
	if !ok {
		severity = 3
	}
	var s strings.Builder
	s.WriteString("CEF:0")
	for _, part := range []string{"Countersign", "Countersign", versionText(), r.kind, strings.ReplaceAll(r.kind, "_", " "), strconv.Itoa(severity)} {
		s.WriteString("|" + cefHeader.Replace(wording.Line(part)))
	}
	sep := "|"
	for _, f := range cefFields {
		value := cefText(f.value(r), f.limit)
		if value == "" {
			continue
		}
		s.WriteString(sep + f.key + "=" + cefExtension.Replace(value))
		sep = " "
		if label := cefLabels[f.key]; label != "" {
			s.WriteString(" " + f.key + "Label=" + label)
		}
	}
	o.line("%s", s.String())
}
