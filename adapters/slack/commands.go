package slack

import (
	"context"
	"html"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// commandText is a slash command (docs.slack.dev/interactivity/implementing-slash-commands).
type commandText struct {
	AppID        text `json:"api_app_id"`
	TeamID       text `json:"team_id"`
	EnterpriseID text `json:"enterprise_id"`
	ChannelID    text `json:"channel_id"`
	UserID       text `json:"user_id"`
	UserName     text `json:"user_name"`
	Text         text `json:"text"`
	ResponseURL  text `json:"response_url"`
	TriggerID    text `json:"trigger_id"`
}

// key is under which a command is remembered. Slack gives each its own trigger
// and its own response_url.
func (in *commandText) key() string {
	return strings.Join([]string{"command", string(in.UserID), string(in.TriggerID), string(in.ResponseURL), string(in.ChannelID), string(in.Text)}, "\x00")
}

func commandOf(v url.Values) commandText {
	get := func(k string) text { return text(v.Get(k)) }
	return commandText{
		AppID: get("api_app_id"), TeamID: get("team_id"), EnterpriseID: get("enterprise_id"), ChannelID: get("channel_id"),
		UserID: get("user_id"), UserName: get("user_name"), Text: get("text"), ResponseURL: get("response_url"), TriggerID: get("trigger_id"),
	}
}

// commandAnswer is what Slack shows to the person who typed a command.
type commandAnswer struct {
	ResponseType string        `json:"response_type"`
	Text         string        `json:"text"`
	Blocks       []slack.Block `json:"blocks,omitempty"`
}

func (c *Chat) command(ctx context.Context, received time.Time, in commandText, h adapters.Handler) response {
	known, cancel := context.WithDeadline(ctx, received.Add(c.within.Think))
	defer cancel()
	if stop := c.strangerCheck(known, sender{
		app: string(in.AppID), team: string(in.TeamID), enterprise: string(in.EnterpriseID), user: string(in.UserID), typed: true,
	}); stop != "" {
		return c.answering(&in, stop)
	}
	key := in.key()
	act := func() response {
		cmd := adapters.Command{
			Delivery: deliveryOf(key),
			Actor:    tickets.Actor{Platform: Platform, ID: string(in.UserID), Name: string(in.UserName)},
			Place:    tickets.Place{Platform: Platform, Channel: string(in.ChannelID)},
			Text:     unescape(string(in.Text)),
		}
		asked := c.commands.Begin(ctx, received, func(ctx context.Context) adapters.Answer { return h.Command(ctx, cmd) })
		if a, ok := chatkit.AwaitUntil(received.Add(c.within.Think), asked); ok {
			return c.answerCommand(ctx, received, &in, a)
		}
		s := c.answering(&in, wording.MsgMoment)
		s.slow, s.after = true, func(ctx context.Context) { c.answerLate(ctx, &in, <-asked) }
		return s
	}
	wait, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	return c.once(wait, "command\x00"+string(in.TriggerID)+"\x00"+string(in.UserID), response{}, act)
}

// answering says something to the person who typed a command.
func (c *Chat) answering(in *commandText, say string) response {
	text, blocks := note(say)
	return response{
		ack: commandAnswer{slack.ResponseTypeEphemeral, text, blocks},
		fallbackAck: &response{after: func(ctx context.Context) {
			c.sendEphemeralText(ctx, string(in.ResponseURL), string(in.ChannelID), string(in.UserID), say)
		}},
	}
}

// answerCommand is the answer to a command in time.
func (c *Chat) answerCommand(ctx context.Context, received time.Time, in *commandText, a adapters.Answer) response {
	switch a := a.(type) {
	case adapters.Note:
		return c.answering(in, a.Text)
	case adapters.Page:
		text, blocks := pages(a)
		return response{ack: commandAnswer{slack.ResponseTypeEphemeral, text, blocks}, fallbackAck: c.answering(in, a.Text).fallbackAck}
	case adapters.Form, adapters.Details, adapters.Settings:
		v, _ := viewOf(a)
		ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Open))
		defer cancel()
		if err := c.open(ctx, string(in.TriggerID), v); err != nil {
			c.log.Warn("a form did not open", "actor", string(in.UserID), "err", err)
			if s, ok := a.(adapters.Settings); ok {
				return c.answering(in, s.Text)
			}
			return c.answering(in, sayNotOpened)
		}
	}
	return response{}
}

// answerLate says a when Slack has had its answer, and opens no form any more.
func (c *Chat) answerLate(ctx context.Context, in *commandText, a adapters.Answer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
	defer cancel()
	c.sendLate(ctx, string(in.ResponseURL), string(in.ChannelID), string(in.UserID), a)
}

var mentioned = regexp.MustCompile(`<(@|#|!subteam\^|https?://|mailto:)([^<>|]*)(?:\|([^<>]*))?>`)

// unescape turns what Slack makes of mentions in a command into the words
// that name them everywhere else: slack:U…, slack:group:S…, slack:channel:C….
func unescape(s string) string {
	s = mentioned.ReplaceAllStringFunc(s, func(m string) string {
		p := mentioned.FindStringSubmatch(m)
		switch p[1] {
		case "@":
			return "slack:" + p[2]
		case "#":
			return "slack:channel:" + p[2]
		case "!subteam^":
			return "slack:group:" + p[2]
		case "mailto:":
			return p[2]
		}
		return p[1] + p[2]
	})
	return html.UnescapeString(s)
}
