package slack

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/tickets"
)

// errNoEcho is an answer without the message it should be about: "200 {}", or
// ok without a ts that is one. The library takes it for success.
var errNoEcho = errors.New("the answer names no message")

// errNoList is an answer without the messages that were asked for.
var errNoList = errors.New("the answer has no list of messages")

// limitedFor is how long to wait after a rate limit without Retry-After.
const limitedFor = 30 * time.Second

// invalid lists the names that mean that the message itself is wrong: our
// bug, or a limit that Slack does not document.
var invalid = []string{
	"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text", "block_mismatch",
	"metadata_too_large", "invalid_metadata_format", "invalid_metadata_schema", "invalid_arguments", "view_too_large",
	"markdown_text_conflict", "team_not_found", "invalid_array_arg", "too_many_attachments", "invalid_attachments",
}

// lateTrigger lists the names that mean that a form can no longer be opened
// or changed from this click.
var lateTrigger = []string{
	"expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id", "invalid_trigger", "hash_conflict", "not_found",
	"push_limit_reached", "duplicate_external_id",
}

// fatal lists the names that no repetition can cure: an admin must act.
var fatal = []string{
	"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope", "no_permission",
	"not_allowed_token_type", "team_access_not_granted", "org_login_required", "enterprise_is_restricted", "access_denied",
}

// limited lists the names that a rate limit has in the body of a 200.
var limited = []string{"ratelimited", "rate_limited", "message_limit_exceeded"}

// classes tells what Slack's error names mean for a call that writes. The
// names are those of the method pages, docs.slack.dev/reference/methods.
// A name that is not here had no effect and may be repeated later.
var classes = byName(map[tickets.Class][]string{
	tickets.RateLimited: limited,
	tickets.Ambiguous:   {"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org"},
	tickets.NotFound: {
		"message_not_found", "cant_update_message", "is_inactive", "edit_window_closed", "streaming_state_conflict",
		"is_archived", "channel_not_found", "not_in_channel", "thread_not_found", "cannot_reply_to_message",
	},
	tickets.Rejected: append(slices.Clone(invalid), "restricted_action", "restricted_action_read_only_channel",
		"restricted_action_thread_only_channel", "restricted_action_non_threadable_channel", "restricted_action_thread_locked",
		"messages_tab_disabled", "ekm_access_denied", "metadata_must_be_sent_from_app", "not_enabled"),
	tickets.Unauthorized: fatal,
})

// fixed lists the names of [tickets.NotFound] that speak of a message which is
// there: in a workspace that lets nobody edit after a while, say.
var fixed = []string{"edit_window_closed", "streaming_state_conflict", "cannot_reply_to_message"}

// mendable lists the names of [tickets.NotFound] that speak of the channel: the
// bot may be invited again, a channel be taken out of the archive. An edit
// must not be given up for them.
var mendable = []string{"is_inactive", "is_archived", "channel_not_found", "not_in_channel"}

// ofPlace lists the names that speak of the channel, whatever is written in
// it. Those that forbid threads alone are not here: cards can still be posted.
var ofPlace = append(slices.Clone(mendable), "restricted_action", "restricted_action_read_only_channel",
	"restricted_action_thread_only_channel", "messages_tab_disabled", "ekm_access_denied")

// mendableFor is how long to wait before an edit is tried again that failed
// for its channel.
const mendableFor = 5 * time.Minute

func byName(lists map[tickets.Class][]string) map[string]tickets.Class {
	out := map[string]tickets.Class{}
	for class, names := range lists {
		for _, name := range names {
			out[name] = class
		}
	}
	return out
}

// slackError is the name of the Slack error in err, or "".
func slackError(err error) string {
	var se slack.SlackErrorResponse
	if errors.As(err, &se) {
		return word(se.Err)
	}
	return ""
}

// gone lists what Slack says of a user group that is deleted or disabled, of
// any where the plan has none, and of a channel that is not there for us. What
// it cannot tell at the moment, or may not, is none of these.
var gone = []string{"no_such_subteam", "plan_upgrade_required", "channel_not_found"}

func isGone(err error) bool        { return slices.Contains(gone, slackError(err)) }
func isInvalid(err error) bool     { return slices.Contains(invalid, slackError(err)) }
func isLateTrigger(err error) bool { return slices.Contains(lateTrigger, slackError(err)) }

// failure says what err of a call means. effect tells whether the call writes
// something that must not happen twice.
func failure(method string, effect bool, err error) *tickets.Failure {
	f := &tickets.Failure{Err: fmt.Errorf("slack %s: %w", method, &neterr.RedactedError{Text: describe(err), Cause: err})}
	unclear := tickets.Unavailable
	if effect {
		unclear = tickets.Ambiguous
	}
	var rate *slack.RateLimitedError
	var status slack.StatusCodeError
	switch name := slackError(err); {
	case errors.As(err, &rate):
		f.Class, f.RetryAfter = tickets.RateLimited, max(rate.RetryAfter, time.Second)
	case errors.As(err, &status) && status.Code == http.StatusTooManyRequests:
		f.Class, f.RetryAfter = tickets.RateLimited, limitedFor
	case name == "":
		f.Class = unclear
		if neterr.NeverSent(err) {
			f.Class = tickets.Unavailable
		}
	default:
		class, known := classes[name]
		if !known {
			class = tickets.Unavailable
		}
		switch class {
		case tickets.RateLimited:
			f.RetryAfter = limitedFor
		case tickets.Ambiguous:
			class = unclear
		case tickets.NotFound:
			if method == "chat.update" && slices.Contains(mendable, name) {
				class, f.RetryAfter = tickets.Unavailable, mendableFor
			}
		}
		f.Class, f.ChannelFault, f.Stays = class, slices.Contains(ofPlace, name), slices.Contains(fixed, name)
	}
	return f
}

var (
	wordPattern    = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
	scopePattern   = regexp.MustCompile(`^[a-z0-9_.:, ]{1,300}$`)
	pointerPattern = regexp.MustCompile(`json-pointer:([A-Za-z0-9_/]{1,120})`)
)

// word is an error name as Slack writes them, or a stand-in for anything else.
func word(s string) string {
	if wordPattern.MatchString(s) {
		return s
	}
	return "unknown_error"
}

// describe is err for the operator, without anything that Slack or the
// network put into it except names, numbers and addresses.
func describe(err error) string {
	var (
		se     slack.SlackErrorResponse
		rate   *slack.RateLimitedError
		status slack.StatusCodeError
	)
	switch {
	case errors.As(err, &se):
		s := word(se.Err)
		if s == "token_expired" {
			s += ": " + MsgRotation
		}
		if scopePattern.MatchString(se.Needed) {
			s += ", needs the scope " + se.Needed
		}
		var at []string
		for _, m := range se.ResponseMetadata.Messages {
			if found := pointerPattern.FindStringSubmatch(m); found != nil && len(at) < 5 {
				at = append(at, found[1])
			}
		}
		if len(at) > 0 {
			s += " at " + strings.Join(at, ", ")
		}
		return s
	case errors.As(err, &rate):
		return fmt.Sprintf("rate limited for %s", rate.RetryAfter)
	case errors.As(err, &status):
		return fmt.Sprintf("HTTP status %d", status.Code)
	case errors.Is(err, errNoEcho):
		return errNoEcho.Error()
	case errors.Is(err, errNoList):
		return errNoList.Error()
	}
	return neterr.Describe(err)
}
