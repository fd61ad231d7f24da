package slack

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/tickets"
)

// A missing is why Slack tells no e-mail address of somebody, who cannot be
// told from who asked then.
type missing struct {
	say     string // to them; empty if [adapters.MsgCannotTell] says it
	problem string // to admins, without a full stop
	fix     string
}

// emailDisplay is where it is set whether addresses are hidden
// (slack.com/help/articles/228020667-Manage-email-display).
const emailDisplay = "Tools & settings, Workspace settings, Email display (for a whole organisation: Organization settings, Organization policies, Email display)"

// What people read to whom Slack tells no address.
const (
	sayAddressesHidden = "Slack hides e-mail addresses from Countersign, so it cannot tell whether this request is your own, and does not let you decide it. " +
		"An owner of the Slack workspace has to show them: " + emailDisplay
	sayNoAddress = "Slack gives Countersign no e-mail address for your account (some guests have none), so it cannot tell whether this request is your own, and does not let you decide it. " +
		"Please let somebody else decide it. Other people's addresses are visible, so the setting Email display is not the cause"
	sayAddressUnknown = "Slack gave Countersign no e-mail address for your account, so it cannot tell whether this request is your own, and does not let you decide it. " +
		"The Slack workspace may hide addresses: " + emailDisplay
)

var (
	// ofScope is for a token that may not read addresses.
	ofScope = missing{problem: "Slack tells nobody's e-mail address: the app needs the scope " + scopeEmail}
	// ofAll is for a workspace that hides them.
	ofAll = missing{
		say:     sayAddressesHidden,
		problem: "Slack hides e-mail addresses: an owner of the workspace shows them under " + emailDisplay,
		fix: "Let an owner of the Slack workspace show them, to members of the organisation at least: " + emailDisplay +
			". Without them nobody can decide, because nobody can be told from who asked.",
	}
	// ofUnknown is for what cannot be found out.
	ofUnknown = missing{
		say:     sayAddressUnknown,
		problem: "Slack gives no e-mail address for this account, and it cannot be found out right now whether the workspace hides those of all: " + emailDisplay,
		fix:     "Try again in a minute. If it lasts, let an owner of the Slack workspace show addresses: " + emailDisplay + ".",
	}
	// ofOne is for an account without one.
	ofOne = missing{
		say:     sayNoAddress,
		problem: "Slack gives no e-mail address for this account, although it does for others, so this person cannot decide",
		fix:     "Name another account of theirs, or somebody else, in COUNTERSIGN_APPROVERS: accounts of some guests and of apps have no address.",
	}
)

// err is m as an error of a call that told no address.
func (m missing) err() error {
	class := tickets.Rejected
	if m.say == "" {
		class = tickets.Unauthorized
	}
	return &tickets.Failure{Class: class, UserMessage: m.say, Err: errors.New("no e-mail address: " + m.problem)}
}

// granted are the scopes that an answer names, nil if it names none, as after a
// proxy that passes no such header on.
func granted(h http.Header) []string {
	return strings.FieldsFunc(strings.Join(h.Values("X-OAuth-Scopes"), ","), func(r rune) bool { return r == ',' || r == ' ' })
}

// unaddressed tells why Slack tells no address of somebody.
func (c *Chat) unaddressed(ctx context.Context) missing {
	why, err := c.everybodys(ctx)
	switch {
	case slackError(err) == "missing_scope":
		return ofScope
	case err != nil:
		c.log.Warn("cannot find out whether slack hides the addresses of all", "err", err)
		return ofUnknown
	case why == nil:
		return ofOne
	}
	return *why
}

// everybodys is why Slack tells nobody's address, or nil if it tells some: of
// any of the first 200 members, as it was at most a minute ago.
func (c *Chat) everybodys(ctx context.Context) (*missing, error) {
	return c.hidden.Get(ctx, "", func(ctx context.Context) (*missing, error) {
		self, err := c.identity(ctx)
		if err != nil {
			return nil, err
		}
		var answer struct {
			Members []struct {
				Profile struct {
					Email jsonx.LooseString `json:"email"`
				} `json:"profile"`
			} `json:"members"`
		}
		var header http.Header
		const method = "users.list"
		err = c.call(ctx, method, "", false, func() (err error) {
			header, err = c.fetch(ctx, method, url.Values{"limit": {"200"}, "team_id": {self.team}}, &answer)
			if err == nil && answer.Members == nil {
				err = errNoList
			}
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case len(granted(header)) > 0 && !slices.Contains(granted(header), scopeEmail):
			return &ofScope, nil
		}
		for _, m := range answer.Members {
			if m.Profile.Email != "" {
				return nil, nil
			}
		}
		return &ofAll, nil
	})
}
