// Package sinks tells machines outside of the chats what happens: syslog,
// a webhook, a file. It keeps the contract that the bot has with a sink
// of events: it is given notices in their order, and says how many of them
// were certainly taken. What is owed to whom, in which order and when to try
// again is none of its business; the bot knows that.
//
// # What is told
//
// Each notice is one JSON object, the same for every sink:
//
//	{"id":"evt_…","type":"ticket.decided","timestamp":"…","data":{…}}
//
// It is ASCII on one line: what is not is written \uXXXX, and so are control
// characters. Whatever somebody wrote into a request can end no line and no
// message, and turns no text around on a terminal. The id is the same each
// time that the notice is told.
//
// # Taken
//
//	syslog   the receiver has read everything and closed the connection after
//	         us. Syslog has no other acknowledgement
//	webhook  each notice was answered with 2xx, or with 409: it is there already
//	file     the lines are on the disk
package sinks

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// The names of the sinks.
const (
	SyslogName  tickets.EventSink = "syslog"
	WebhookName tickets.EventSink = "webhook"
	FileName    tickets.EventSink = "file"
)

// testType is the type of the notice by which Check sees whether a sink
// takes any.
const testType = "countersign.test"

// test is a notice of nothing that happened.
func test() tickets.EventEnvelope {
	now := time.Now()
	return tickets.EventEnvelope{ID: fmt.Sprintf("evt_test_%d", now.UnixNano()), Type: testType, At: now}
}

// encode is n as JSON in ASCII, on one line without its end.
func encode(n tickets.EventEnvelope) ([]byte, error) {
	b, err := jsonx.Encode(n)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", n.ID, err)
	}
	return ascii(b), nil
}

// ascii is JSON with every character above ASCII escaped. They stand in
// strings only.
func ascii(b []byte) []byte {
	const hex = "0123456789abcdef"
	s := make([]byte, 0, len(b))
	var units []uint16
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r < 0x7f {
			s = append(s, b[0])
		} else {
			units = utf16.AppendRune(units[:0], r)
			for _, u := range units {
				s = append(s, '\\', 'u', hex[u>>12], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
		}
		b = b[n:]
	}
	return s
}

// cuts are the most characters that texts keep in a notice that is too long,
// tried one after the other.
var cuts = []int{2000, 500, 120, 70, 30}

// encodeWithin is encode in at most limit bytes. If texts had to be cut for
// that, the notice has the member "cut".
func encodeWithin(n tickets.EventEnvelope, limit int) ([]byte, error) {
	b, err := encode(n)
	if err != nil || len(b) <= limit {
		return b, err
	}
	for _, most := range cuts {
		var tree map[string]any
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&tree); err != nil {
			return nil, fmt.Errorf("shorten %s: %w", n.ID, err)
		}
		short, ok := cut(tree, most).(map[string]any)
		if !ok {
			break
		}
		short["cut"] = true
		s, err := jsonx.Encode(short)
		if err != nil {
			return nil, fmt.Errorf("shorten %s: %w", n.ID, err)
		}
		if s = ascii(s); len(s) <= limit {
			return s, nil
		}
	}
	last := cuts[len(cuts)-1]
	bare, err := jsonx.Encode(map[string]any{
		"id": n.ID, "type": wording.Cut(n.Type, last), "timestamp": n.At, "cut": true,
		"data": map[string]any{"ticket": wording.Cut(string(n.Data.Ticket), last), "position": n.Data.Position},
	})
	return ascii(bare), err
}

// cut is v with at most most characters in each text.
func cut(v any, most int) any {
	switch v := v.(type) {
	case string:
		return wording.Cut(v, most)
	case []any:
		for i := range v {
			v[i] = cut(v[i], most)
		}
	case map[string]any:
		for name := range v {
			v[name] = cut(v[name], most)
		}
	}
	return v
}

// describe is err, of a connection, for the operator.
func describe(err error) string {
	var (
		certificate *tls.CertificateVerificationError
		alert       tls.AlertError
		record      tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &certificate):
		return "its certificate is not accepted: " + certificate.Err.Error()
	case errors.As(err, &alert):
		return "it ended the TLS connection: " + alert.Error()
	case errors.As(err, &record):
		return "it does not speak TLS"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection"
	}
	return neterr.Describe(err)
}

// noAnswer is the failure of a call that was not answered.
func noAnswer(err error) *tickets.Failure {
	f := &tickets.Failure{Class: tickets.Ambiguous, Err: errors.New(describe(err))}
	if neterr.NeverSent(err) {
		f.Class = tickets.Unavailable
	}
	return f
}
