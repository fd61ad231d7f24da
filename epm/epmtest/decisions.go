package epmtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Result is what EPM made of a decision.
type Result string

// The results.
const (
	InEffect     Result = "in effect"    // it decided the request
	Repeated     Result = "repeated"     // equal to the one in effect, nothing changed
	Contradicted Result = "contradicted" // different from the one in effect, refused
	Refused      Result = "refused"      // a field is missing or wrong, or Refusing
	Unknown      Result = "unknown"      // no such request of that kind
)

// Decision is a decision that reached EPM and was looked at. Calls that a
// fault stopped before that are in Calls only.
type Decision struct {
	RequestID string
	Kind      Kind
	Status    Status // Approved, Denied, or empty if the call said neither
	By        string // the person named, unchecked
	Duration  string // "Once", seconds, or empty
	Message   string
	// DecisionTime, SystemID, TicketID and TicketURL are as they were sent.
	DecisionTime string
	SystemID     string
	TicketID     string
	TicketURL    string

	At      time.Time // by Config.Now
	Result  Result
	Answer  int    // the status EPM answers with; 0 for the console
	Problem string // what was wrong, if it was refused
	Fault   string // the fault that kept the answer from the caller, if any
	Console bool   // made in EPM's own console
}

// Decisions returns every decision about a request that EPM looked at, oldest
// first, also about requests that EPM does not have.
func (s *Server) Decisions(requestID string) []Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Decision(nil), s.decisions[strings.ToLower(requestID)]...)
}

// Effective returns the decision that is in effect, and false while there is
// none.
func (s *Server) Effective(requestID string) (Decision, bool) {
	all := s.Decisions(requestID)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Result == InEffect {
			return all[i], true
		}
	}
	return Decision{}, false
}

// TimesInEffect is how many decisions took effect, one after the other.
func (s *Server) TimesInEffect(requestID string) int {
	n := 0
	for _, d := range s.Decisions(requestID) {
		if d.Result == InEffect {
			n++
		}
	}
	return n
}

// DecideInConsole decides a request as an administrator does in EPM's own
// console: duration is "Once" or seconds and may be anything the console
// offers, and a request that was decided may be decided again. With
// AutoConfirm the update webhook follows. The error is ErrUnknownRequest, or
// says that verdict is neither Approved nor Denied.
func (s *Server) DecideInConsole(requestID string, verdict Status, duration, by string) error {
	if verdict != Approved && verdict != Denied {
		return fmt.Errorf("verdict %q is neither %s nor %s", verdict, Approved, Denied)
	}
	now := s.now()
	s.mu.Lock()
	q, ok := s.findLocked(requestID)
	if !ok {
		s.mu.Unlock()
		return fmt.Errorf("decide %s: %w", requestID, ErrUnknownRequest)
	}
	d := Decision{RequestID: q.ID, Kind: q.Kind, Status: verdict, By: by, Duration: duration,
		DecisionTime: now.UTC().Format(TimeLayout), At: now, Result: InEffect, Console: true}
	s.takeEffectLocked(q, d)
	s.mu.Unlock()
	s.confirm(q.ID)
	return nil
}

// decisionWire is the body of both decision calls. Names are compared without
// regard to letter case and unknown ones are ignored, as .NET does.
type decisionWire struct {
	Status                  *string `json:"status"`
	Decision                *string `json:"decision"`
	DecisionPerformedByUser *string `json:"decisionPerformedByUser"`
	Duration                *string `json:"duration"`
	ItsmRequestID           *string `json:"itsmRequestId"`
	DecisionTime            *string `json:"decisionTime"`
	Message                 *string `json:"message"`
	SystemID                *string `json:"systemId"`
	TicketID                *string `json:"ticketId"`
	TicketURL               *string `json:"ticketUrl"`
	RequestID               *string `json:"requestId"` // admin only
	ID                      *string `json:"id"`        // admin only
}

func peekRequestID(body []byte) string {
	var b decisionWire
	_ = json.Unmarshal(body, &b)
	return firstOf(b.ItsmRequestID, b.RequestID, b.ID)
}

// decide carries a decision out, or says why not.
func (s *Server) decide(body []byte, call *Call) answer {
	kind := KindApp
	if call.Endpoint == AdminDecision {
		kind = KindAdmin
	}
	var b decisionWire
	dec := json.NewDecoder(bytes.NewReader(body))
	err := dec.Decode(&b)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("text after the object")
		}
	}
	wrong := map[string][]string{}
	switch {
	case err != nil:
		field := "$"
		var mismatch *json.UnmarshalTypeError
		if errors.As(err, &mismatch) && mismatch.Field != "" {
			field = "$." + mismatch.Field
		}
		wrong[field] = []string{"The JSON value could not be converted to the expected type."}
	case kind == KindApp:
		wrong = appProblems(b)
	default:
		wrong = adminProblems(b, s.cfg.RefuseAdminOnce)
	}
	d := Decision{
		RequestID: firstOf(b.ItsmRequestID), Kind: kind, By: value(b.DecisionPerformedByUser),
		Duration: value(b.Duration), Message: value(b.Message), DecisionTime: value(b.DecisionTime),
		SystemID: value(b.SystemID), TicketID: value(b.TicketID), TicketURL: value(b.TicketURL),
		At: s.now(), Fault: call.Fault,
	}
	if kind == KindAdmin {
		d.RequestID = firstOf(b.RequestID, b.ID)
	}
	if v := Status(value(b.Decision)); v == Approved || v == Denied {
		d.Status = v
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(wrong) > 0 {
		return s.refuseLocked(d, Refused, http.StatusBadRequest, "One or more validation errors occurred.", wrong)
	}
	q, ok := s.requests[strings.ToLower(d.RequestID)]
	if !ok || q.Kind != kind {
		return s.refuseLocked(d, Unknown, http.StatusNotFound, "The request was not found.", nil)
	}
	if s.mode == Refusing {
		return s.refuseLocked(d, Refused, http.StatusBadRequest, "The request can no longer be decided.", nil)
	}
	if q.Status != Pending {
		if q.sameDecision(d) {
			d.Result, d.Answer = Repeated, s.cfg.EqualAnswer
			if !success(d.Answer) {
				return s.refuseLocked(d, Repeated, d.Answer, "The request has this decision already.", nil)
			}
			s.rememberLocked(d)
			return answer{status: d.Answer, did: true}
		}
		if !success(s.cfg.DifferentAnswer) {
			return s.refuseLocked(d, Contradicted, s.cfg.DifferentAnswer, "The request has a different decision already.", nil)
		}
	}
	d.Result, d.Answer = InEffect, http.StatusOK
	if q.Status != Pending {
		d.Answer = s.cfg.DifferentAnswer
	}
	s.takeEffectLocked(q, d)
	id := q.ID
	if s.cfg.AutoConfirm && !s.closed {
		s.running.Go(func() { s.confirmLater(id) })
	}
	return answer{status: d.Answer, did: true}
}

func (s *Server) refuseLocked(d Decision, r Result, status int, title string, wrong map[string][]string) answer {
	a := problem(status, title, wrong)
	d.Result, d.Answer, d.Problem = r, status, title
	if len(wrong) > 0 {
		text, _ := json.Marshal(wrong)
		d.Problem = string(text)
	}
	s.rememberLocked(d)
	return a
}

func (s *Server) rememberLocked(d Decision) {
	key := strings.ToLower(d.RequestID)
	s.decisions[key] = append(s.decisions[key], d)
	s.changedLocked()
}

func (s *Server) takeEffectLocked(q *request, d Decision) {
	q.Status, q.DecidedBy, q.Message, q.Duration, q.Decided = d.Status, d.By, d.Message, d.Duration, d.At
	q.Until = time.Time{}
	if n, ok := plainSeconds(d.Duration); ok && d.Status == Approved {
		q.Until = d.At.Add(n)
	}
	q.InConsole = d.Console
	if !d.Console {
		q.outsideSystem, q.outsideTicket, q.outsideURL = d.SystemID, d.TicketID, d.TicketURL
	}
	s.rememberLocked(d)
}

// appProblems checks the ten fields of an application decision, all required
// and not empty: https://docs.beyondtrust.com/epm-wm/v25.5/reference/authorizationrequest
func appProblems(b decisionWire) map[string][]string {
	wrong := map[string][]string{}
	for _, f := range []struct {
		name  string
		value *string
	}{
		{"Status", b.Status}, {"Decision", b.Decision}, {"DecisionPerformedByUser", b.DecisionPerformedByUser},
		{"Duration", b.Duration}, {"ItsmRequestId", b.ItsmRequestID}, {"DecisionTime", b.DecisionTime},
		{"Message", b.Message}, {"SystemId", b.SystemID}, {"TicketId", b.TicketID}, {"TicketUrl", b.TicketURL},
	} {
		require(wrong, f.name, f.value)
	}
	if len(wrong) > 0 {
		return wrong
	}
	switch *b.Decision + " " + *b.Status {
	case "Approved 2000", "Denied 2001":
	default:
		wrong["Status"] = []string{"Decision and Status must be Approved and 2000, or Denied and 2001."}
	}
	checkDuration(wrong, *b.Duration)
	if _, err := time.Parse(TimeLayout, *b.DecisionTime); err != nil {
		wrong["DecisionTime"] = []string{"The value must look like 2026-01-31 13:05:00."}
	}
	return wrong
}

// adminProblems checks an admin decision:
// https://docs.beyondtrust.com/epm-wm/v25.7/reference/adminaccessrequest
func adminProblems(b decisionWire, refuseOnce bool) map[string][]string {
	wrong := map[string][]string{}
	id := firstOf(b.RequestID, b.ID)
	switch {
	case !uuidForm.MatchString(id):
		wrong["RequestId"] = []string{"The RequestId field is required and must be a uuid."}
	case value(b.RequestID) != "" && value(b.ID) != "" && !strings.EqualFold(*b.RequestID, *b.ID):
		wrong["Id"] = []string{"RequestId and Id name different requests."}
	}
	require(wrong, "DecisionPerformedByUser", b.DecisionPerformedByUser)
	require(wrong, "Message", b.Message)
	switch value(b.Decision) {
	case "Approved":
		require(wrong, "Duration", b.Duration)
		if wrong["Duration"] == nil {
			checkDuration(wrong, *b.Duration)
			if *b.Duration == "Once" && refuseOnce {
				wrong["Duration"] = []string{"The value must be seconds."}
			}
		}
	case "Denied":
		if value(b.Duration) != "" {
			checkDuration(wrong, *b.Duration)
		}
	default:
		wrong["Decision"] = []string{"Valid values are Approved and Denied."}
	}
	return wrong
}

func require(wrong map[string][]string, name string, v *string) {
	if strings.TrimSpace(value(v)) == "" {
		wrong[name] = []string{"The " + name + " field is required."}
	}
}

func checkDuration(wrong map[string][]string, text string) {
	if _, ok := plainSeconds(text); !ok && text != "Once" {
		wrong["Duration"] = []string{"The value must be Once or seconds."}
	}
}

var plainNumber = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)

// plainSeconds reads a duration that is a plain number of seconds.
func plainSeconds(text string) (time.Duration, bool) {
	if !plainNumber.MatchString(text) {
		return 0, false
	}
	n, _ := strconv.Atoi(text)
	return time.Duration(n) * time.Second, true
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func firstOf(values ...*string) string {
	for _, v := range values {
		if value(v) != "" {
			return *v
		}
	}
	return ""
}

func success(status int) bool { return status >= 200 && status < 300 }
