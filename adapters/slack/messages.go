package slack

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/slack-go/slack"

	"fmt"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// timestamp is how Slack writes the ids of messages: seconds, and six digits
// that tell apart what is of one second (defs_ts in slackapi/slack-api-specs).
var timestamp = regexp.MustCompile(`^[0-9]{10}\.[0-9]{6}$`)

func isTS(s string) bool { return timestamp.MatchString(s) }

// Post shows t in place. The message carries metadata with the ticket's
// number, by which a lost one is found again.
func (c *Chat) Post(ctx context.Context, place tickets.Place, t *tickets.Ticket, since time.Time) (string, error) {
	if !since.IsZero() {
		ts, rev, err := c.find(ctx, place.Channel, "", t.Number, 0, since)
		if err != nil {
			return "", err
		}
		if ts != "" {
			if rev == t.Rev {
				return ts, nil
			}
			// Found as it was posted: make it show what the caller will record.
			err := c.Edit(ctx, tickets.Message{Place: place, ID: ts}, t)
			if err == nil {
				return ts, nil
			}
			if tickets.FailureOf(err).Class != tickets.NotFound {
				return "", err
			}
		}
	}
	return c.post(ctx, place, "", t.Number, c.card(t), t.Rev)
}

// post sends one message, in a thread if thread is not empty, and returns its
// id. What is no id is not kept: it may be anything, our own token that comes
// back included.
func (c *Chat) post(ctx context.Context, place tickets.Place, thread string, n tickets.Number, m message, rev int) (string, error) {
	m = c.sendable(m, n)
	for {
		options := []slack.MsgOption{
			slack.MsgOptionText(m.text, false), // escaped by whoever wrote it
			slack.MsgOptionBlocks(m.blocks...),
			slack.MsgOptionMetadata(mark(n, place, rev)),
			slack.MsgOptionDisableLinkUnfurl(),
			slack.MsgOptionDisableMediaUnfurl(),
		}
		if thread != "" {
			options = append(options, slack.MsgOptionTS(thread))
		}
		var ts string
		err := c.call(ctx, methodPost, place.Channel, true, func() error {
			channel, got, err := c.api().PostMessageContext(ctx, place.Channel, options...)
			if err == nil && (!isTS(got) || channel == "") {
				err = errNoEcho
			}
			ts = got
			return err
		})
		if err == nil {
			return ts, nil
		}
		if m.simple != nil && isInvalid(err) {
			c.log.Error("slack refuses a message, sending a plain one", "ticket", string(n), "channel", place.Channel, "err", err)
			m = *m.simple
			continue
		}
		return "", err
	}
}

// Edit makes m show t.
func (c *Chat) Edit(ctx context.Context, m tickets.Message, t *tickets.Ticket) error {
	show := c.sendable(c.card(t), t.Number)
	for {
		err := c.call(ctx, methodUpdate, m.Place.Channel, true, func() error {
			_, ts, _, err := c.api().UpdateMessageContext(ctx, m.Place.Channel, m.ID,
				slack.MsgOptionText(show.text, false),
				slack.MsgOptionBlocks(show.blocks...),
				slack.MsgOptionMetadata(mark(t.Number, m.Place, t.Rev)),
			)
			if err == nil && ts != m.ID {
				err = errNoEcho
			}
			return err
		})
		if show.simple != nil && isInvalid(err) {
			c.log.Error("slack refuses an edit, sending a plain one", "ticket", string(t.Number), "channel", m.Place.Channel, "err", err)
			show = *show.simple
			continue
		}
		return err
	}
}

// Present looks for m in the history of its channel. The message of an app that
// was created anew is there, and is no more ours.
func (c *Chat) Present(ctx context.Context, m tickets.Message) (bool, error) {
	self, err := c.identity(ctx)
	if err != nil {
		return false, err
	}
	const method = "conversations.history"
	args := url.Values{"channel": {m.Place.Channel}, "oldest": {m.ID}, "latest": {m.ID}, "inclusive": {"1"}, "limit": {"1"}}
	var page struct {
		Messages []found `json:"messages"`
	}
	err = c.call(ctx, method, m.Place.Channel, false, func() error {
		err := c.read(ctx, method, args, &page)
		if err == nil && page.Messages == nil {
			err = errNoList
		}
		return err
	})
	switch {
	case slackError(err) == "missing_scope": // the set-up leaves it to people
		return c.linked(ctx, m)
	case err != nil:
		return false, err
	}
	return slices.ContainsFunc(page.Messages, func(f found) bool { return f.TS == m.ID && f.by(self) }), nil
}

// linked reports whether there is a link to m, which needs no scope; whose m is
// it does not tell.
func (c *Chat) linked(ctx context.Context, m tickets.Message) (bool, error) {
	const method = "chat.getPermalink"
	err := c.call(ctx, method, m.Place.Channel, false, func() error {
		_, err := c.api().GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: m.Place.Channel, Ts: m.ID})
		return err
	})
	if slackError(err) == "message_not_found" {
		return false, nil
	}
	return err == nil, err
}

// Reply tells an event of t in the thread of m. Its metadata holds the
// event's number as rev.
func (c *Chat) Reply(ctx context.Context, m tickets.Message, t *tickets.Ticket, event int, since time.Time) error {
	if !since.IsZero() {
		ts, _, err := c.find(ctx, m.Place.Channel, m.ID, t.Number, event, since)
		if err != nil || ts != "" {
			return err
		}
	}
	_, err := c.post(ctx, m.Place, m.ID, t.Number, c.reply(t, event), event)
	return err
}

// mark is the metadata of our messages. Everybody in the workspace can read it.
func mark(n tickets.Number, place tickets.Place, rev int) slack.SlackMetadata {
	return slack.SlackMetadata{
		EventType:    adapters.MetadataEvent,
		EventPayload: map[string]any{"ticket": string(n), "place": place.String(), "rev": rev},
	}
}

// unwritable lists what conversations.open says of people who cannot get a
// direct message from us.
var unwritable = []string{
	"user_not_found", "users_not_found", "user_disabled", "user_not_visible", "cannot_dm_bot", "invalid_user_combination",
	"method_not_supported_for_channel_type", "no_such_subteam", "plan_upgrade_required",
}

// DirectMessage writes text to p: to a user, or to each member of a user group. It
// fails for a group if it failed for somebody whom a repetition may reach, or
// if nobody of it can be written to.
func (c *Chat) DirectMessage(ctx context.Context, p tickets.Principal, text string) error {
	refused := func(why string) error {
		return &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("slack: tell %s: %s", p, why)}
	}
	if p.Platform != Platform {
		return refused("that is not Slack")
	}
	switch p.Kind {
	case tickets.User:
		return c.tellUser(ctx, p.ID, text)
	case tickets.Group:
	default:
		return refused("only users and user groups get direct messages")
	}
	const method = "usergroups.users.list"
	var users []string
	err := c.call(ctx, method, "", false, func() (err error) {
		users, err = c.api().GetUserGroupMembersContext(ctx, p.ID)
		return err
	})
	if err != nil {
		return told(err)
	}
	reached := false
	var again error
	for _, u := range users {
		switch err := c.tellUser(ctx, u, text); {
		case err == nil:
			reached = true
		case tickets.FailureOf(err).Class == tickets.Unauthorized:
			return err // for all of them
		case tickets.FailureOf(err).Class != tickets.Rejected && again == nil:
			again = err
		}
	}
	if again == nil && !reached {
		return refused("nobody in the group can be written to")
	}
	return again
}

func (c *Chat) tellUser(ctx context.Context, user, text string) error {
	var dm string
	err := c.call(ctx, "conversations.open", "", false, func() error {
		ch, _, _, err := c.api().OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{user}})
		if err == nil && (ch == nil || ch.ID == "") {
			return errNoEcho
		}
		if err == nil {
			dm = ch.ID
		}
		return err
	})
	if err != nil {
		return told(err)
	}
	return told(c.call(ctx, methodPost, dm, true, func() error {
		_, ts, err := c.api().PostMessageContext(ctx, dm,
			slack.MsgOptionText(escapeWithin(wording.Visible(text), maxTopText), false),
			slack.MsgOptionDisableMarkdown(),
			slack.MsgOptionDisableLinkUnfurl(),
			slack.MsgOptionDisableMediaUnfurl(),
		)
		if err == nil && !isTS(ts) {
			err = errNoEcho
		}
		return err
	}))
}

// told makes class Rejected of a failure that is about the person: nothing
// shows in a direct message that could be gone.
func told(err error) error {
	if err == nil {
		return nil
	}
	f := tickets.FailureOf(err)
	if f.Class == tickets.NotFound || slices.Contains(unwritable, slackError(err)) {
		return &tickets.Failure{Class: tickets.Rejected, Err: f.Err}
	}
	return err
}
