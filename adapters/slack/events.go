package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

// event is a delivery of the Events API, as much of it as we use.
type event struct {
	Type         text `json:"type"`
	Challenge    text `json:"challenge"`
	AppID        text `json:"api_app_id"`
	TeamID       text `json:"team_id"`
	EnterpriseID text `json:"enterprise_id"`
	Event        struct {
		Type   text `json:"type"`
		User   text `json:"user"`
		Tab    text `json:"tab"`
		View   view `json:"view"`
		Tokens struct {
			Bot []text `json:"bot"`
		} `json:"tokens"`
	} `json:"event"`
}

// event answers a delivery of the Events API. Without a Handler what asks for
// one is left alone.
func (c *Chat) event(payload []byte, h adapters.Handler) response {
	var e event
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(payload, &e)); err != nil {
		c.log.Warn("an event is not JSON, acknowledged", "err", describe(err))
		return response{}
	}
	if e.Type == "url_verification" {
		return response{ack: map[string]string{"challenge": string(e.Challenge)}}
	}
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	// Before Slack has told who we are nothing is remembered, and what cannot
	// be placed has no effect.
	if self == nil || c.isForeign(string(e.AppID)) || !c.isOurs(*self, string(e.TeamID)) && !c.isOurs(*self, string(e.EnterpriseID)) {
		c.log.Warn("an event of another app or workspace was ignored", "type", word(string(e.Event.Type)))
		return response{}
	}
	switch kind := string(e.Event.Type); {
	case kind == "app_uninstalled", kind == "tokens_revoked" && len(e.Event.Tokens.Bot) > 0:
		return response{after: func(ctx context.Context) {
			// It may be late, or of a token that was replaced.
			err := c.call(ctx, "auth.test", "", false, func() error { _, err := c.api().AuthTestContext(ctx); return err })
			if err == nil {
				c.log.Info("slack took the app or a token of it away, but not the bot token in use", "type", kind)
			} else if tickets.FailureOf(err).Class == tickets.Unauthorized {
				c.fail(errUninstalled(kind))
			}
		}}
	case strings.HasPrefix(kind, "subteam_"), kind == "member_joined_channel", kind == "member_left_channel":
		c.members.Clear()
		c.people.Clear()
		c.hidden.Clear()
	case kind == "app_home_opened":
		return c.homeOpened(&e, h)
	default:
		c.log.Debug("an event was acknowledged", "type", word(kind))
	}
	return response{}
}

func errUninstalled(event string) error {
	return fmt.Errorf("slack: %s: install the app again and set its new bot token", event)
}
