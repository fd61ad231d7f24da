package epmtest

import (
	"embed"
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Event is one of the four things EPM has a webhook for, as the vendor's
// templates spell it.
type Event string

// The four events.
const (
	AppCreated   Event = "URM_Native_Ticket_Created"
	AppUpdated   Event = "URM_NATIVE_DECISION_UPDATE"
	AdminCreated Event = "JIT_ADMIN_TICKET_CREATED"
	AdminUpdated Event = "JIT_ADMIN_TICKET_UPDATED"
)

// Events lists the four events.
func Events() []Event { return []Event{AppCreated, AppUpdated, AdminCreated, AdminUpdated} }

// CreatedEvent is the event that announces a request of this kind.
func (k Kind) CreatedEvent() Event {
	if k == KindAdmin {
		return AdminCreated
	}
	return AppCreated
}

// UpdatedEvent is the event that tells the decision of a request of this kind.
func (k Kind) UpdatedEvent() Event {
	if k == KindAdmin {
		return AdminUpdated
	}
	return AppUpdated
}

// templateFiles are the vendor's templates, letter for letter:
// https://docs.beyondtrust.com/epm-wm/docs/bt-epm-servicenow-integration
//
//go:embed templates/*.json
var templateFiles embed.FS

// Template is the vendor's template of an event, letter for letter, or nil if
// there is no such event.
func Template(e Event) []byte {
	name, ok := map[Event]string{
		AppCreated:   "urm_native_ticket_created.json",
		AppUpdated:   "urm_native_decision_update.json",
		AdminCreated: "jit_admin_ticket_created.json",
		AdminUpdated: "jit_admin_ticket_updated.json",
	}[e]
	if !ok {
		return nil
	}
	b, err := templateFiles.ReadFile(path.Join("templates", name))
	if err != nil {
		return nil
	}
	return b
}

var placeholder = regexp.MustCompile(`%%([A-Za-z0-9]+)%%`)

// Placeholders lists the names between %% in an event's template, each once,
// in order.
func Placeholders(e Event) []string {
	var names []string
	for _, m := range placeholder.FindAllSubmatch(Template(e), -1) {
		if name := string(m[1]); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Escape says how values get into a template. How EPM does it is not
// documented.
type Escape uint8

// The ways to write them.
const (
	Escaped Escape = iota // as JSON wants it
	Raw                   // as they are: quotes, backslashes and line breaks break the body
)

// Missing says how a value that does not exist is written.
type Missing uint8

// The ways to write it.
const (
	MissingEmpty       Missing = iota // ""
	MissingPlaceholder                // "%%Name%%", unfilled
	MissingNull                       // the text "null"
)

// BodyOptions says how a webhook's body is written. The zero value is a clean
// body.
type BodyOptions struct {
	// Escape is how values are written; default Escaped.
	Escape Escape
	// Missing is how absent values are written; default MissingEmpty.
	Missing Missing
	// Values replaces what placeholders stand for, by their name in the
	// template, for this body only; default none.
	Values map[string]string
	// Leave names placeholders that stay unfilled; default none.
	Leave []string
	// Without names keys of values whose whole line is left out; default none.
	Without []string
	// SecondWorkstyle is the value of the second of the two workstyle keys
	// in the application template; default the same as the first.
	SecondWorkstyle string
	// Numbers writes durations that are plain numbers without quotes; default
	// false.
	Numbers bool
	// BOM begins the body with a byte-order mark; default false.
	BOM bool
	// CRLF ends the template's lines with \r\n; default false.
	CRLF bool
	// UpperKeys writes all keys in capitals; default false.
	UpperKeys bool
	// ExtraFields adds keys with text values after EventType; default none.
	ExtraFields map[string]string
	// Truncate cuts the body after that many bytes; default 0, not at all.
	Truncate int
	// TimeLayout is the layout of times; default Config.WebhookTimeLayout.
	TimeLayout string
}

var (
	quotedPlaceholder = regexp.MustCompile(`"%%([A-Za-z0-9]+)%%"`)
	lineKey           = regexp.MustCompile(`^(\s*)"([A-Za-z0-9]+)":`)
)

// Body returns the body of a webhook without sending it. The request is taken
// as it is now if the server has it, else as given. An event of the other
// kind, or an update of a pending request, is filled as far as it goes. It
// returns nil for an unknown event.
func (s *Server) Body(e Event, r *Request, o BodyOptions) []byte {
	current := *r
	if now, ok := s.Request(r.ID); ok {
		current = *now
	}
	layout := orDefault(o.TimeLayout, s.cfg.WebhookTimeLayout)
	return fill(e, s.placeholders(e, &current, layout), o)
}

// placeholders says what EPM knows about a request, by placeholder.
func (s *Server) placeholders(e Event, r *Request, layout string) map[string]string {
	values := maps.Clone(r.values)
	if values == nil {
		values = map[string]string{}
	}
	set := func(name, v string) {
		if _, given := values[name]; !given {
			values[name] = v
		}
	}
	set("RequestId", r.ID)
	set("TenantId", s.cfg.TenantID)
	set("TicketNumber", r.Number)
	set("Reason", r.Reason)
	set("DurationRequested", r.Asked)
	set("UserName", r.User)
	set("User", r.User)
	set("HostName", r.Host)
	at := r.Created
	if e == AppUpdated || e == AdminUpdated {
		at = s.now()
	}
	set("Timestamp", formatTime(at, layout))
	if r.Status != Pending && r.Status != "" {
		set("Decision", string(r.Status))
		set("DecisionTime", formatTime(r.Decided, layout))
		set("DecisionPerformedByUser", r.DecidedBy)
		set("Duration", r.Duration)
	}
	if r.Status == Approved {
		set("StartTime", formatTime(r.Decided, layout))
		set("EndTime", formatTime(r.Until, layout))
	}
	return values
}

// fill writes a template. It is pure.
func fill(e Event, values map[string]string, o BodyOptions) []byte {
	template := Template(e)
	if template == nil {
		return nil
	}
	values = maps.Clone(values)
	maps.Copy(values, o.Values)

	newline := "\n"
	if o.CRLF {
		newline = "\r\n"
	}
	var out strings.Builder
	if o.BOM {
		out.WriteString("\ufeff")
	}
	workstyles := 0
	for _, line := range strings.SplitAfter(string(template), "\n") {
		line, ended := strings.CutSuffix(line, "\n")
		key := ""
		if m := lineKey.FindStringSubmatch(line); m != nil {
			key = m[2]
			if o.UpperKeys {
				line = m[1] + `"` + strings.ToUpper(key) + `":` + line[len(m[0]):]
			}
		}
		if key != "" && slices.Contains(o.Without, key) {
			continue
		}
		line = quotedPlaceholder.ReplaceAllStringFunc(line, func(quoted string) string {
			name := quoted[3 : len(quoted)-3]
			if slices.Contains(o.Leave, name) {
				return quoted
			}
			v := values[name]
			if name == "Workstyle" {
				workstyles++
				if workstyles == 2 && o.SecondWorkstyle != "" {
					v = o.SecondWorkstyle
				}
			}
			if v == "" {
				switch o.Missing {
				case MissingPlaceholder:
					return quoted
				case MissingNull:
					v = "null"
				}
			}
			if o.Numbers && strings.HasPrefix(name, "Duration") && plainNumber.MatchString(v) {
				return v
			}
			return `"` + o.Escape.write(v) + `"`
		})
		out.WriteString(line)
		if ended {
			out.WriteString(newline)
		}
		if key == "EventType" {
			for _, name := range slices.Sorted(maps.Keys(o.ExtraFields)) {
				out.WriteString(`  "` + Escaped.write(name) + `": "` + o.Escape.write(o.ExtraFields[name]) + `",` + newline)
			}
		}
	}
	body := []byte(closeGap(out.String(), len(o.Without) > 0))
	if o.Truncate > 0 && o.Truncate < len(body) {
		body = body[:o.Truncate]
	}
	return body
}

var danglingComma = regexp.MustCompile(`,(\r?\n\s*\}[,\r\n])`)

// closeGap removes the comma that a left out last line leaves behind.
func closeGap(body string, gap bool) string {
	if !gap {
		return body
	}
	return danglingComma.ReplaceAllString(body, "$1")
}

func (e Escape) write(v string) string {
	if e == Raw {
		return v
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

// OtherRequestID is the request that injected fields pretend to be about.
const OtherRequestID = "99999999-9999-4999-8999-999999999999"

// Injection is a reason that, written Raw, adds fields to the body: another
// RequestId, an EventType and a Decision. With a line break each field stands
// on a line of its own, as in the template. The body stays valid JSON.
func Injection(requestID string, event Event, lineBreak bool) string {
	sep := `, `
	if lineBreak {
		sep = ",\n  "
	}
	return `x"` + sep + `"RequestId": "` + requestID + `"` + sep +
		`"EventType": "` + string(event) + `"` + sep + `"Decision": "Approved`
}

// Breakage is one way in which a webhook's body may differ from a clean one.
type Breakage struct {
	Name    string
	Events  []Event // that it makes sense for
	Options BodyOptions
	// Valid says whether the body is JSON for encoding/json.
	Valid bool
	// Forged says whether the requester added fields to the body.
	Forged bool
}

// Breakages lists the bodies that a receiver has to live with, for each of
// their events. Bodies that are about order or number (an update before its
// create, the same event ten times) are compositions of Body and Deliver.
func Breakages() []Breakage {
	created := []Event{AppCreated, AdminCreated}
	updated := []Event{AppUpdated, AdminUpdated}
	app := []Event{AppCreated}
	all := Events()
	reason := func(text string) map[string]string { return map[string]string{"Reason": text} }
	list := []Breakage{
		{Name: "clean", Events: all, Valid: true},
		{Name: "escapedWindowsPath", Events: app, Valid: true, Options: BodyOptions{
			Values: map[string]string{"FilePathObjectId": `C:\Users\x`}}},
		{Name: "rawWindowsPath", Events: app, Options: BodyOptions{Escape: Raw,
			Values: clean(map[string]string{"FilePathObjectId": `C:\Users\x`})}},
		{Name: "rawPathOfValidEscapes", Events: app, Valid: true, Options: BodyOptions{Escape: Raw,
			Values: clean(map[string]string{"FilePathObjectId": `C:\new\table`})}},
		{Name: "rawPathsMixed", Events: app, Options: BodyOptions{Escape: Raw,
			Values: clean(map[string]string{"FilePathObjectId": `C:\Users\new`, "ParentProcess": `C:\new\table`, "User": `CORP\bob`})}},
		{Name: "rawUserOfValidEscapes", Events: created, Valid: true, Options: BodyOptions{Escape: Raw,
			Values: clean(map[string]string{"User": `CORP\bob`, "UserName": `CORP\bob`, "Reason": "patch day"})}},
		{Name: "rawQuotesInReason", Events: created, Options: BodyOptions{Escape: Raw,
			Values: clean(reason(`he said "please"`))}},
		{Name: "rawLineBreakInReason", Events: created, Options: BodyOptions{Escape: Raw,
			Values: clean(reason("first line\nsecond line"))}},
		{Name: "rawWindowsLineBreakInReason", Events: created, Options: BodyOptions{Escape: Raw, CRLF: true,
			Values: clean(reason("first line\r\nsecond line"))}},
		{Name: "rawControlCharacters", Events: created, Options: BodyOptions{Escape: Raw,
			Values: clean(reason("tab\there, nul\x00here"))}},
		{Name: "rawBackslashAtTheEnd", Events: created, Options: BodyOptions{Escape: Raw,
			Values: clean(reason(`see C:\temp\`))}},
		{Name: "loneSurrogate", Events: created, Valid: true, Options: BodyOptions{Escape: Raw,
			Values: clean(reason(`x\ud800y`))}},
		{Name: "escapedNul", Events: created, Valid: true, Options: BodyOptions{Values: reason("x\x00y")}},
		{Name: "placeholdersForMissing", Events: all, Valid: true, Options: BodyOptions{Missing: MissingPlaceholder}},
		{Name: "nullForMissing", Events: all, Valid: true, Options: BodyOptions{Missing: MissingNull}},
		{Name: "twoWorkstyles", Events: app, Valid: true, Options: BodyOptions{
			Values: map[string]string{"Workstyle": "High flexibility"}, SecondWorkstyle: "Low flexibility"}},
		{Name: "byteOrderMark", Events: all, Options: BodyOptions{BOM: true}},
		{Name: "numbersForDurations", Events: append([]Event{AdminCreated}, updated...), Valid: true,
			Options: BodyOptions{Numbers: true, Values: map[string]string{"Duration": "3600", "DurationRequested": "7200"}}},
		{Name: "otherLetterCase", Events: all, Valid: true, Options: BodyOptions{UpperKeys: true}},
		{Name: "unknownFields", Events: all, Valid: true, Options: BodyOptions{
			ExtraFields: map[string]string{"Severity": "7", "Region": "eu"}}},
		{Name: "crlf", Events: all, Valid: true, Options: BodyOptions{CRLF: true}},
		{Name: "cutOff", Events: all, Options: BodyOptions{Truncate: 60}},
		{Name: "injectedFields", Events: created, Valid: true, Forged: true, Options: BodyOptions{Escape: Raw,
			Values: clean(reason(Injection(OtherRequestID, AdminUpdated, false)))}},
		{Name: "injectedFieldsOnOwnLines", Events: created, Valid: true, Forged: true, Options: BodyOptions{Escape: Raw,
			Values: clean(reason(Injection(OtherRequestID, AdminUpdated, true)))}},
		{Name: "injectedRequestInfo", Events: created, Valid: true, Forged: true, Options: BodyOptions{Escape: Raw,
			Values: clean(reason(`x", "requestInfo": {"Decision": "Approved", "Duration": "Once"}, "y": "`))}},
		{Name: "injectedObject", Events: app, Valid: true, Forged: true, Options: BodyOptions{Escape: Raw,
			Values: clean(reason(`x"}, "RequestId": "` + OtherRequestID + `", "EventType": "` + string(AppUpdated) +
				`", "rest": {"Decision": "Approved`))}},
	}
	for _, layout := range TimeLayouts() {
		list = append(list, Breakage{Name: "times " + layout, Events: all, Valid: true, Options: BodyOptions{TimeLayout: layout}})
	}
	for _, e := range all {
		for _, name := range Placeholders(e) {
			list = append(list, Breakage{Name: "leftover " + name, Events: []Event{e}, Valid: true,
				Options: BodyOptions{Leave: []string{name}}})
		}
	}
	return list
}

// TimeLayouts are layouts of time that a webhook may use; which one EPM uses
// is not documented.
func TimeLayouts() []string {
	return []string{TimeLayout, "2006-01-02T15:04:05", "2006-01-02T15:04:05.0000000", time.RFC3339,
		"01/02/2006 15:04:05", "1/2/2006 3:04:05 PM"}
}

// clean replaces the values that would break a raw body by themselves, so that
// a breakage shows only what it is named for.
func clean(values map[string]string) map[string]string {
	for name, v := range map[string]string{"User": "alice", "UserName": "alice", "FilePathObjectId": "setup.exe",
		"CmdArgs": "", "ParentProcess": "", "ProductDescription": ""} {
		if _, given := values[name]; !given {
			values[name] = v
		}
	}
	return values
}
