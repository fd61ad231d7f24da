package discord

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/tickets"
)

// errNoEcho is an answer without what it should be about.
var errNoEcho = errors.New("the answer names nothing")

// Discord's JSON error codes, as far as they are told apart
// (discord.com/developers/docs/topics/opcodes-and-status-codes#json).
const (
	codeUnknownChannel     = 10003
	codeUnknownGuild       = 10004
	codeUnknownMember      = 10007
	codeUnknownMessage     = 10008
	codeUnknownUser        = 10013
	codeUnknownWebhook     = 10015
	codeUnknownInteraction = 10062
	codeOldEdits           = 30046
	codeUnauthorized       = 40001
	codeAcknowledged       = 40060
	codeMissingAccess      = 50001
	codeNotOurs            = 50005
	codeNoDirectMessage    = 50007
	codeNotText            = 50008
	codeMissingPermission  = 50013
	codeInvalid            = 50035
	codeArchived           = 50083
	codeThreadExists       = 160004
	codeThreadLocked       = 160005
)

// classes tells what a code means for a call that writes. A code that is not
// here goes by its HTTP status.
var classes = map[int]tickets.Class{
	codeUnknownChannel: tickets.NotFound, codeUnknownGuild: tickets.NotFound, codeUnknownMessage: tickets.NotFound,
	codeNotOurs: tickets.NotFound, codeArchived: tickets.NotFound, codeThreadLocked: tickets.NotFound,
	codeMissingAccess: tickets.Rejected, codeMissingPermission: tickets.Rejected, codeNotText: tickets.Rejected,
	codeNoDirectMessage: tickets.Rejected, codeInvalid: tickets.Rejected, codeUnauthorized: tickets.Unauthorized,
}

// ofThePlace lists the codes that speak of the channel, whatever was said in
// it.
var ofThePlace = []int{codeUnknownChannel, codeUnknownGuild, codeMissingAccess, codeMissingPermission, codeNotText}

// answered is an answer of Discord that is not 2xx, in our words.
type answered struct {
	status, code int
	text         string
}

func (e *answered) Error() string { return e.text }

// codeOf is Discord's code in err, or 0.
func codeOf(err error) int {
	var a *answered
	if errors.As(err, &a) {
		return a.code
	}
	return 0
}

// failure says what err of r means.
func failure(r *request, err error) *tickets.Failure {
	f := &tickets.Failure{Class: tickets.Unavailable}
	if r.effect {
		f.Class = tickets.Ambiguous
	}
	cause := error(nil)
	var limited *limitedError
	var server *serverError
	switch re := restError(err); {
	case re != nil:
		a := &answered{status: re.Response.StatusCode, text: fmt.Sprintf("HTTP status %d", re.Response.StatusCode)}
		if re.Message != nil && re.Message.Code != 0 {
			a.code = re.Message.Code
			a.text += fmt.Sprintf(", code %d", a.code)
			if means := meaning(a.code); means != "" {
				a.text += " (" + means + ")"
			}
			if a.code == codeInvalid {
				a.text += wrongFields(re.ResponseBody)
			}
		}
		f.Class = classOf(a, f.Class)
		f.Stays = f.Class == tickets.NotFound && a.code != codeUnknownMessage && a.code != codeNotOurs
		if f.ChannelFault = slices.Contains(ofThePlace, a.code); f.ChannelFault {
			f.UserMessage = meaning(a.code)
		}
		cause = a
	case errors.As(err, &limited):
		f.Class, f.RetryAfter = tickets.RateLimited, limited.wait
		cause = &answered{status: http.StatusTooManyRequests, code: limited.code, text: limited.Error()}
	case errors.As(err, &server):
		cause = &answered{status: server.status, text: server.Error()}
	case errors.Is(err, errNoEcho):
		cause = errNoEcho
	default:
		if neterr.NeverSent(err) {
			f.Class = tickets.Unavailable
		}
		// Never as it is: its text holds the address, and with it an
		// interaction's token.
		cause = &neterr.RedactedError{Text: neterr.Describe(err), Cause: err}
	}
	f.Err = fmt.Errorf("discord %s %s: %w", r.method, r.route, cause)
	return f
}

// classOf is what an answer means. One without a code, but for 401, is not
// Discord's: a proxy on the way says nothing about a message, and unknown
// stays what is known.
func classOf(a *answered, unknown tickets.Class) tickets.Class {
	if class, known := classes[a.code]; known {
		return class
	}
	switch {
	case a.status == http.StatusUnauthorized:
		return tickets.Unauthorized
	case a.code == 0:
		return unknown
	case a.status == http.StatusNotFound:
		return tickets.NotFound
	}
	return tickets.Rejected
}

// meaning is what an admin should know about a code.
func meaning(code int) string {
	switch code {
	case codeUnknownChannel:
		return "there is no such channel"
	case codeUnknownGuild:
		return "the bot is not in the server"
	case codeUnknownMessage:
		return "the message was deleted"
	case codeMissingAccess:
		return "the bot cannot see the channel"
	case codeMissingPermission:
		return "the bot lacks a permission there"
	case codeNoDirectMessage:
		return "this person takes no direct messages"
	case codeUnknownInteraction:
		return "answered too late"
	case codeAcknowledged:
		return "answered before"
	}
	return ""
}

// fieldName finds the names of fields in an error body; nothing else of it is
// shown, because it may quote what was sent.
var fieldName = regexp.MustCompile(`"([a-z0-9_]{1,40})":\{"`)

func wrongFields(body []byte) string {
	var names []string
	for _, m := range fieldName.FindAllSubmatch(body, 8) {
		if name := string(m[1]); name != "errors" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " at " + strings.Join(names, ".")
}
