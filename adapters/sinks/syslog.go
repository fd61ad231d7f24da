package sinks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	syslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const (
	// maxMessage is the longest message, in bytes: what every receiver should
	// take (RFC 5425, section 4.3.1).
	maxMessage = 8192
	// maxParam is the most characters of a parameter of structured data.
	maxParam = 128
	// facility is "log audit" (RFC 5424, section 6.2.1).
	facility = 13
	// sdID names our structured data. 32473 is the enterprise number that
	// stands for one in examples (RFC 5612): Countersign has none of its own.
	sdID = "countersign@32473"
	// maxAnswer is how much of what a receiver says is read, in bytes. It
	// should say nothing.
	maxAnswer = 4096

	syslogTimeout = 10 * time.Second
)

// Severities (RFC 5424, section 6.2.1).
const (
	warning       = 4
	notice        = 5
	informational = 6
)

// severity is how much a notice wants to be looked at: a request that arrived
// is informational, what went wrong a warning, and everything else a notice.
func severity(n tickets.EventEnvelope) uint8 {
	e := n.Data.Event
	if e == nil {
		return notice
	}
	switch e.Kind {
	case tickets.EventReceived:
		return informational
	case tickets.EventRefused, tickets.EventDelayed, tickets.EventNotPermitted, tickets.EventOverdue, tickets.EventDamaged, tickets.EventAccepted, tickets.EventAccessDenied, tickets.EventDeliveryFailing, tickets.EventDeliveryAbandoned, tickets.EventsSuppressed:
		return warning
	}
	return notice
}

// SyslogConfig says where syslog goes.
type SyslogConfig struct {
	Address  string        // HOST:PORT. Required
	TLS      *tls.Config   // for TLS (RFC 5425); default plain TCP (RFC 6587)
	Hostname string        // of this machine, as messages tell it; default none
	Timeout  time.Duration // of one delivery; default 10 s
}

// Syslog sends messages of RFC 5424, framed by counting octets. Make one with
// [NewSyslog].
//
// Each delivery has a connection of its own: it is closed on our side when
// everything is written, and only when the receiver has closed it too, which
// it does once it has read to the end, is everything taken. A connection that
// is kept open would swallow what is written into it after the receiver, or a
// firewall between, has forgotten it.
type Syslog struct{ SyslogConfig }

// NewSyslog checks c and makes a Syslog. It connects to nobody yet.
func NewSyslog(c SyslogConfig) (*Syslog, error) {
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" {
		return nil, errors.New("syslog: the address must be HOST:PORT")
	}
	if c.Timeout == 0 {
		c.Timeout = syslogTimeout
	}
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
		if c.TLS.ServerName == "" {
			c.TLS.ServerName = host
		}
	}
	c.Hostname = header(c.Hostname, 255)
	return &Syslog{c}, nil
}

// Deliver sends list. As syslog acknowledges nothing by itself, all of it is
// taken or nobody knows of how much.
func (s *Syslog) Deliver(ctx context.Context, list []tickets.EventEnvelope) (taken int, err error) {
	var frames bytes.Buffer
	for _, n := range list {
		m, err := s.message(n)
		if err != nil {
			return 0, &tickets.Failure{Class: tickets.Rejected, Err: err}
		}
		fmt.Fprintf(&frames, "%d %s", len(m), m)
	}
	if err := s.send(ctx, frames.Bytes()); err != nil {
		return 0, err
	}
	return len(list), nil
}

// Check sends a notice that is only a test.
func (s *Syslog) Check(ctx context.Context) adapters.Finding {
	f := adapters.Finding{What: "the syslog receiver " + s.Address + ": took a test message"}
	if _, err := s.Deliver(ctx, []tickets.EventEnvelope{test()}); err != nil {
		f.What = "the syslog receiver " + s.Address
		f.Problem = tickets.FailureOf(err).Err.Error()
		f.Fix = "Start that receiver, with octet-counted framing and over the transport that COUNTERSIGN_EVENTS_SYSLOG names, or correct that variable."
		if s.TLS != nil {
			f.Fix += " If it is about a certificate, name its authority in COUNTERSIGN_EVENTS_SYSLOG_CA, and the client's certificate in COUNTERSIGN_EVENTS_SYSLOG_CERT if it wants one."
		}
	}
	return f
}

func (s *Syslog) send(ctx context.Context, frames []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return noAnswer(err)
	}
	defer func() { _ = raw.Close() }()
	// Whatever is under way ends with ctx.
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })()
	conn, ok := raw.(interface {
		net.Conn
		CloseWrite() error
	})
	if s.TLS != nil {
		secure := tls.Client(raw, s.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return &tickets.Failure{Class: tickets.Unavailable, Err: errors.New(describe(err))}
		}
		conn, ok = secure, true
	}
	if !ok {
		return &tickets.Failure{Class: tickets.Unavailable, Err: errors.New("this is no TCP connection")}
	}
	if _, err = conn.Write(frames); err == nil {
		err = conn.CloseWrite()
	}
	if err != nil {
		// What it said before it closed tells more than that it did.
		var alert tls.AlertError
		if _, said := conn.Read(make([]byte, 1)); errors.As(said, &alert) {
			err = said
		}
		return unclear(ctx, err)
	}
	said, err := io.Copy(io.Discard, io.LimitReader(conn, maxAnswer))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		// Closed, but without the TLS alert that RFC 5425 (section 4.4) wants:
		// some receivers leave that out.
	case err != nil:
		return unclear(ctx, err)
	case said == maxAnswer:
		return &tickets.Failure{Class: tickets.Ambiguous, Err: errors.New("it answers, which no syslog receiver does")}
	}
	return nil
}

// unclear is the failure of a connection on which something was written.
func unclear(ctx context.Context, err error) error {
	text := describe(err)
	if ctx.Err() != nil {
		text = "it did not close the connection after us in time, so that nobody knows whether it has read everything"
	}
	return &tickets.Failure{Class: tickets.Ambiguous, Err: errors.New(text)}
}

// message is n as a message, in at most maxMessage bytes.
func (s *Syslog) message(n tickets.EventEnvelope) (string, error) {
	app, id, at := "countersign", header(n.Type, 32), n.At.UTC()
	m := rfc5424.SyslogMessage{Base: syslog.Base{Timestamp: &at, Appname: &app}, Version: 1, StructuredData: structured(n)}
	m.ComputeFromPriority(facility<<3 | severity(n))
	if s.Hostname != "" {
		m.Hostname = &s.Hostname
	}
	if id != "" {
		m.MsgID = &id
	}
	head, err := m.String()
	if err != nil {
		return "", fmt.Errorf("message %s: %w", n.ID, err)
	}
	text, err := encodeWithin(n, maxMessage-len(head)-1)
	if err != nil {
		return "", err
	}
	return head + " " + string(text), nil
}

// structured is what receivers filter by without reading the message.
func structured(n tickets.EventEnvelope) *map[string]map[string]string {
	params := map[string]string{"id": n.ID}
	add := func(name, value string) {
		if value != "" {
			params[name] = wording.Cut(wording.Line(value), maxParam)
		}
	}
	add("ticket", string(n.Data.Ticket))
	if r := n.Data.Request; r != nil {
		add("request", string(r.ID))
		add("user", r.User)
		add("host", r.Where())
	}
	if e := n.Data.Event; e != nil && e.Actor.ID != "" {
		add("actor", e.Actor.String())
	}
	if c := n.Data.Change; c != nil {
		add("setting", c.Key)
		if c.By.ID != "" {
			add("actor", c.By.String())
		}
	}
	return &map[string]map[string]string{sdID: params}
}

// header is what may stand in a header field: printable ASCII without blanks.
func header(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), limit)]
}
