package epmtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind says what a request asks for.
type Kind string

// The kinds.
const (
	KindApp   Kind = "application" // run this program
	KindAdmin Kind = "admin"       // be an administrator for a while
)

// Status is where a request stands.
type Status string

// The statuses.
const (
	Pending  Status = "Pending"
	Approved Status = "Approved"
	Denied   Status = "Denied"
)

// App is someone's wish to run a program. User and Host have defaults,
// everything else may be empty.
type App struct {
	User        string // default CORP\alice
	Host        string // default LAPTOP-0142
	Product     string
	Version     string
	Description string
	Publisher   string
	Path        string
	Hash        string // SHA-1
	SHA256      string
	CmdLine     string
	Parent      string // path of the program that started it
	Reason      string
	Workstyle   string
	Group       string // application group of the policy
	HostType    string // default Windows
	OS          string
	// Extra fills further placeholders of the vendor's template, by their
	// name there; it overrides the fields above.
	Extra map[string]string
}

// Admin is someone's wish to be an administrator for a while. User has
// a default.
type Admin struct {
	User       string        // default CORP\alice
	UserID     string        // default a random SID
	ComputerID string        // default a random uuid
	Host       string        // for Requests only: the vendor's event names no host
	GroupID    string        // default a random uuid
	Reason     string        //
	Duration   time.Duration // that is asked for; default 1 h
	Extra      map[string]string
}

// Request is a request as EPM sees it at one moment.
type Request struct {
	ID      string // uuid
	Kind    Kind
	Number  string // EPM000238
	User    string
	Host    string
	Program string // product or path; empty for admin access
	Reason  string
	Status  Status
	Created time.Time

	DecidedBy string
	Message   string
	Duration  string    // that was decided: "Once", seconds, or empty
	Asked     string    // seconds that were asked for, admin only
	Decided   time.Time // zero while pending
	Until     time.Time // when what was granted ends; zero for Once, denied and pending
	InConsole bool      // decided in EPM's own console

	values map[string]string // what the webhook's placeholders stand for
}

// request is the stored form. It is guarded by Server.mu.
type request struct {
	Request
	recordID      string
	outsideSystem string
	outsideTicket string
	outsideURL    string
}

// RequestApp creates a request in EPM and sends its webhook, with Config.Body
// and Config.Retry. The request is returned also with an error; the error is
// ErrNoWebhook, or says that no attempt got a 2xx.
func (s *Server) RequestApp(a App) (*Request, error) {
	r := s.RequestAppQuietly(a)
	return r, s.SendCreated(r.ID)
}

// RequestAdmin is RequestApp for admin access.
func (s *Server) RequestAdmin(a Admin) (*Request, error) {
	r := s.RequestAdminQuietly(a)
	return r, s.SendCreated(r.ID)
}

// RequestAppQuietly creates a request and sends nothing, as if the webhook
// had been lost.
func (s *Server) RequestAppQuietly(a App) *Request {
	a.User = orDefault(a.User, `CORP\alice`)
	a.Host = orDefault(a.Host, "LAPTOP-0142")
	a.HostType = orDefault(a.HostType, "Windows")
	values := map[string]string{
		"ApplicationType": "Executable", "Action": "Elevate", "Workstyle": a.Workstyle, "Reason": a.Reason,
		"User": a.User, "HostName": a.Host, "ProductDescription": a.Description, "Sha1Hash": a.Hash,
		"Sha256Hash": a.SHA256, "FilePathObjectId": a.Path, "CmdArgs": a.CmdLine, "Publisher": a.Publisher,
		"ProductName": a.Product, "ProductVersion": a.Version, "FileVersion": a.Version,
		"ApplicationGroup": a.Group, "HostType": a.HostType, "OsName": a.OS, "ParentProcess": a.Parent,
		"RequestVersion": "1",
	}
	maps.Copy(values, a.Extra)
	return s.create(Request{Kind: KindApp, User: a.User, Host: a.Host, Program: orDefault(a.Product, a.Path),
		Reason: a.Reason, values: values})
}

// RequestAdminQuietly is RequestAppQuietly for admin access.
func (s *Server) RequestAdminQuietly(a Admin) *Request {
	a.User = orDefault(a.User, `CORP\alice`)
	a.UserID = orDefault(a.UserID, "S-1-5-21-1004336348-1177238915-682003330-1108")
	a.ComputerID = orDefault(a.ComputerID, newUUID())
	a.GroupID = orDefault(a.GroupID, newUUID())
	if a.Duration == 0 {
		a.Duration = time.Hour
	}
	asked := strconv.Itoa(int(a.Duration / time.Second))
	values := map[string]string{
		"ComputerId": a.ComputerID, "GroupId": a.GroupID, "Reason": a.Reason, "UserId": a.UserID,
		"UserName": a.User, "DurationRequested": asked,
	}
	maps.Copy(values, a.Extra)
	return s.create(Request{Kind: KindAdmin, User: a.User, Host: a.Host, Reason: a.Reason, Asked: asked, values: values})
}

func (s *Server) create(r Request) *Request {
	r.ID, r.Status, r.Created = newUUID(), Pending, s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Number = fmt.Sprintf("EPM%06d", s.number)
	s.number++
	q := &request{Request: r, recordID: r.ID}
	if s.cfg.OwnRecordIDs {
		q.recordID = newUUID()
	}
	s.requests[r.ID] = q
	s.byNumber[r.Number] = q
	s.order = append(s.order, q)
	s.changedLocked()
	return &r
}

// ListAlso adds records to what the API lists of a kind, each written as it
// is, as for a version of EPM that has other names.
func (s *Server) ListAlso(kind Kind, records ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.odd[kind] = append(s.odd[kind], json.RawMessage(r))
	}
}

// Request returns a request by its id or its number.
func (s *Server) Request(idOrNumber string) (*Request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.findLocked(idOrNumber)
	if !ok {
		return nil, false
	}
	r := q.Request
	return &r, true
}

// Requests returns all requests, newest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, 0, len(s.order))
	for _, q := range slices.Backward(s.order) {
		out = append(out, q.Request)
	}
	return out
}

func (s *Server) findLocked(idOrNumber string) (*request, bool) {
	if q, ok := s.requests[strings.ToLower(idOrNumber)]; ok {
		return q, true
	}
	q, ok := s.byNumber[idOrNumber]
	return q, ok
}

// sameDecision reports whether d says what is already in effect.
func (q *request) sameDecision(d Decision) bool {
	return q.Status == d.Status && q.DecidedBy == d.By && q.Message == d.Message &&
		(d.Status == Denied || q.Duration == d.Duration)
}

const recordTime = "2006-01-02T15:04:05.9999999"

type appRecord struct {
	ID            string `json:"id"`
	RequestID     string `json:"requestId"`
	TicketNumber  string `json:"ticketNumber"`
	ServiceTicket struct {
		TicketID string `json:"ticketId"`
		SystemID string `json:"systemId"`
		URL      string `json:"url"`
	} `json:"serviceTicket"`
	RequestInfo struct {
		User             string `json:"user"`
		Created          string `json:"created"`
		Reason           string `json:"reason"`
		HostName         string `json:"hostName"`
		ProductName      string `json:"productName"`
		Publisher        string `json:"publisher"`
		FilePathObjectID string `json:"filePathObjectId"`
		CmdArgs          string `json:"cmdArgs"`
		Sha256Hash       string `json:"sha256Hash"`
	} `json:"requestInfo"`
	AccessDecision struct {
		Status                  string  `json:"status"`
		Decision                *string `json:"decision"`
		DecisionTime            *string `json:"decisionTime"`
		DecisionPerformedByUser *string `json:"decisionPerformedByUser"`
		Duration                *string `json:"duration"`
		Message                 *string `json:"message"`
	} `json:"accessDecision"`
}

type adminRecord struct {
	ID                      string  `json:"id"`
	RequestID               string  `json:"requestId"`
	TicketNumber            string  `json:"ticketNumber"`
	UserName                string  `json:"userName"`
	UserID                  string  `json:"userId"`
	ComputerID              string  `json:"computerId"`
	Reason                  string  `json:"reason"`
	DurationRequested       string  `json:"durationRequested"`
	Created                 string  `json:"created"`
	Decision                string  `json:"decision"`
	DecisionTime            *string `json:"decisionTime"`
	DecisionPerformedByUser *string `json:"decisionPerformedByUser"`
	Duration                *string `json:"duration"`
	StartTime               *string `json:"startTime"`
	EndTime                 *string `json:"endTime"`
	Message                 *string `json:"message"`
	SystemID                *string `json:"systemId"`
	TicketID                *string `json:"ticketId"`
	TicketURL               *string `json:"ticketUrl"`
}

// pathID is the identifier under which the API has the request's record. For
// admin requests the vendor calls it requestId; for applications it is not
// documented. https://docs.beyondtrust.com/epm-wm/reference/get_v2-adminaccessrequest-requestid
func (q *request) pathID() string {
	if q.Kind == KindAdmin {
		return q.ID
	}
	return q.recordID
}

// record is the request as the API shows it. The nesting of an application
// record is known from clients, the names in an admin record are plausible.
func (q *request) record() any {
	at := func(t time.Time) *string { return orNull(formatTime(t, recordTime)) }
	if q.Kind == KindApp {
		var r appRecord
		r.ID, r.RequestID, r.TicketNumber = q.recordID, q.ID, q.Number
		r.ServiceTicket.TicketID = orDefault(q.outsideTicket, q.Number)
		r.ServiceTicket.SystemID = orDefault(q.outsideSystem, q.ID)
		r.ServiceTicket.URL = q.outsideURL
		i := &r.RequestInfo
		i.User, i.Created, i.Reason, i.HostName = q.User, formatTime(q.Created, recordTime), q.Reason, q.Host
		i.ProductName, i.Publisher = q.values["ProductName"], q.values["Publisher"]
		i.FilePathObjectID, i.CmdArgs, i.Sha256Hash = q.values["FilePathObjectId"], q.values["CmdArgs"], q.values["Sha256Hash"]
		d := &r.AccessDecision
		d.Status = string(q.Status)
		if q.Status != Pending {
			d.Decision, d.DecisionTime = orNull(string(q.Status)), at(q.Decided)
			d.DecisionPerformedByUser, d.Duration, d.Message = orNull(q.DecidedBy), orNull(q.Duration), orNull(q.Message)
		}
		return r
	}
	r := adminRecord{
		ID: q.recordID, RequestID: q.ID, TicketNumber: q.Number, UserName: q.User, UserID: q.values["UserId"],
		ComputerID: q.values["ComputerId"], Reason: q.Reason, DurationRequested: q.Asked,
		Created: formatTime(q.Created, recordTime), Decision: string(q.Status),
	}
	if q.Status != Pending {
		r.DecisionTime, r.DecisionPerformedByUser = at(q.Decided), orNull(q.DecidedBy)
		r.Duration, r.Message = orNull(q.Duration), orNull(q.Message)
		r.SystemID, r.TicketID, r.TicketURL = orNull(q.outsideSystem), orNull(q.outsideTicket), orNull(q.outsideURL)
	}
	if q.Status == Approved {
		r.StartTime, r.EndTime = at(q.Decided), at(q.Until)
	}
	return r
}

// formatTime is empty for the zero time.
func formatTime(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func orDefault(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
