package slack

import (
	"cmp"
	"context"
	"net/url"
	"slices"

	"fmt"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets/selfcheck"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/tickets"
)

// sender is who sent a delivery, as Slack says.
type sender struct {
	app, team, enterprise, user string
	userTeam                    string // the workspace of user; empty if Slack does not say
	typed                       bool   // a command or an event, which never say userTeam
}

// strangerCheck says why s may not act here, or "". It knows nothing about roles:
// only whether this is our app, our workspace and a person of it. Whoever
// belongs to another workspace of our organisation may act too, if Slack says
// so in the delivery, of us and of them.
func (c *Chat) strangerCheck(ctx context.Context, s sender) string {
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self == nil {
		return wording.MsgStarting
	}
	if c.isForeign(s.app) {
		c.log.Warn("a delivery for another app was refused")
		return wording.MsgStranger
	}
	here := c.isOurs(*self, cmp.Or(s.team, s.enterprise))
	sister := self.enterprise != "" && s.enterprise == self.enterprise
	stranger := !userID.MatchString(s.user) || !sister && (!here || s.userTeam != "" && !c.isHome(*self, s.userTeam))
	switch {
	case stranger:
	case here && (s.typed || c.isHome(*self, s.userTeam)):
		return ""
	default:
		who, err := c.person(ctx, s.user)
		if err != nil {
			c.log.Warn("cannot tell whether somebody belongs to the workspace", "actor", s.user, "err", err)
			return wording.MsgCannotPlace
		}
		if who.problem == "" {
			return ""
		}
	}
	c.log.Warn("somebody of another workspace was refused", "actor", s.user)
	return wording.MsgStranger
}

// isForeign reports whether a delivery that names app is none of ours. While
// Slack has not told which app we are, its signature or our connection says so
// alone.
func (c *Chat) isForeign(app string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.appID != "" && app != c.appID
}

// isHome reports whether the people of the workspace team may act.
func (c *Chat) isHome(self identity, team string) bool {
	return team != "" && (team == self.team || slices.Contains(c.cfg.Teams, team))
}

// isOurs reports whether what happens in team, a workspace or an organisation,
// is for us.
func (c *Chat) isOurs(self identity, team string) bool {
	return c.isHome(self, team) || team != "" && team == self.enterprise
}

// somebody is a person as Slack told of them.
type somebody struct {
	name    string
	problem string // why they can do nothing with us, or ""
	address bool   // Slack told one
}

// person believes for a minute what Slack told: there may be many, and Slack
// takes about a hundred such calls a minute.
func (c *Chat) person(ctx context.Context, id string) (somebody, error) {
	return c.people.Get(ctx, id, func(ctx context.Context) (somebody, error) {
		self, err := c.identity(ctx)
		if err != nil {
			return somebody{}, err
		}
		u, err := c.account(ctx, id)
		switch {
		case isNoUser(err):
			return somebody{problem: "Slack knows no such user"}, nil
		case err != nil:
			return somebody{}, err
		}
		return somebody{name: u.name(), problem: c.wrongWith(u, self), address: u.Profile.Email != ""}, nil
	})
}

// account is a user as far as being somebody who may act goes.
type account struct {
	ID       string            `json:"id"`
	Name     jsonx.LooseString `json:"name"`
	RealName jsonx.LooseString `json:"real_name"`
	Team     string            `json:"team_id"`
	Deleted  bool              `json:"deleted"`
	Bot      bool              `json:"is_bot"`
	Profile  struct {
		AppID jsonx.LooseString `json:"api_app_id"` // of a bot
		Email jsonx.LooseString `json:"email"`
	} `json:"profile"`
	Grid struct {
		Enterprise string `json:"enterprise_id"`
	} `json:"enterprise_user"`
}

func (u account) name() string { return string(cmp.Or(u.RealName, u.Name)) }

// account reads a user.
func (c *Chat) account(ctx context.Context, id string) (account, error) {
	const method = "users.info"
	var answer struct {
		User account `json:"user"`
	}
	err := c.call(ctx, method, "", false, func() error {
		err := c.read(ctx, method, url.Values{"user": {id}}, &answer)
		if err == nil && answer.User.ID == "" {
			err = errNoEcho
		}
		return err
	})
	return answer.User, err
}

// isNoUser reports whether err says that there is no such user for us.
func isNoUser(err error) bool {
	return slices.Contains([]string{"user_not_found", "user_not_visible"}, slackError(err))
}

// wrongWith says why u can do nothing with us, or "".
func (c *Chat) wrongWith(u account, self identity) string {
	switch {
	case u.Deleted:
		return "the account is deactivated"
	case u.Bot || u.ID == "USLACKBOT":
		return "it is a bot: it can neither decide nor read a message"
	case !c.isHome(self, u.Team) && (self.enterprise == "" || u.Grid.Enterprise != self.enterprise):
		return "they belong to another workspace, whose people may not act here"
	}
	return ""
}

// HasRole reports whether a is p or belongs to it, with the members of groups
// and channels as they were at most a minute ago. Nobody belongs to what is
// gone.
func (c *Chat) HasRole(ctx context.Context, p tickets.Principal, a tickets.Actor) (bool, error) {
	if p.Platform != Platform || a.Platform != Platform || a.ID == "" {
		return false, nil
	}
	var load func(context.Context) ([]string, error)
	switch p.Kind {
	case tickets.User:
		return p.ID == a.ID, nil
	case tickets.Group:
		load = func(ctx context.Context) (users []string, err error) {
			const method = "usergroups.users.list"
			err = c.call(ctx, method, "", false, func() (err error) {
				users, err = c.api().GetUserGroupMembersContext(ctx, p.ID)
				return err
			})
			if isGone(err) {
				c.log.Warn("a user group or channel does not exist, is disabled, or the plan has none, so nobody is in it", "principal", p.String())
				return nil, nil
			}
			return users, err
		}
	case tickets.Channel:
		load = func(ctx context.Context) ([]string, error) {
			members, err := c.channelMembers(ctx, p.ID)
			if isGone(err) {
				c.log.Warn("a channel is deleted, or private and without the bot, so nobody is known to be in it", "principal", p.String())
				return nil, nil
			}
			return members, err
		}
	default:
		return false, fmt.Errorf("slack: %s: Slack has no roles; name a user, a group or a channel", p)
	}
	members, err := c.members.Get(ctx, string(p.Kind)+" "+p.ID, load)
	if err != nil {
		return false, fmt.Errorf("members of %s: %w", p, err)
	}
	return slices.Contains(members, a.ID), nil
}

// Sees reports whether a is a member of the channel place, wherever they act:
// in a public channel, and in a direct message, anybody can type a command.
func (c *Chat) Sees(ctx context.Context, a tickets.Actor, _, place tickets.Place) (bool, error) {
	return c.HasRole(ctx, tickets.Principal{Platform: place.Platform, Kind: tickets.Channel, ID: place.Channel}, a)
}

// Identify returns a's address and names as Slack told them at most a minute
// ago. Without the scope users:read.email, and where the workspace hides them,
// Slack leaves the address out; to go by names alone would let people decide
// their own requests.
func (c *Chat) Identify(ctx context.Context, a tickets.Actor) (selfcheck.Identity, error) {
	if a.Platform != Platform || a.ID == "" {
		return selfcheck.Identity{}, fmt.Errorf("slack: %s is nobody of Slack", a)
	}
	profile, err := c.profiles.Get(ctx, a.ID, func(ctx context.Context) ([]string, error) { return c.profile(ctx, a.ID) })
	if err != nil {
		return selfcheck.Identity{}, fmt.Errorf("profile of %s: %w", a, err)
	}
	return selfcheck.Identity{Emails: profile[:1:1], Names: profile[1:]}, nil
}

// profile is the address of a user, then their names.
func (c *Chat) profile(ctx context.Context, user string) ([]string, error) {
	const method = "users.info"
	var answer struct {
		User struct {
			Name     text `json:"name"`
			RealName text `json:"real_name"`
			Profile  struct {
				Email       text `json:"email"`
				RealName    text `json:"real_name"`
				DisplayName text `json:"display_name"`
			} `json:"profile"`
		} `json:"user"`
	}
	err := c.call(ctx, method, "", false, func() error { return c.read(ctx, method, url.Values{"user": {user}}, &answer) })
	u := answer.User
	switch {
	case err != nil:
		return nil, err
	case u.Profile.Email == "":
		return nil, c.unaddressed(ctx).err()
	}
	list := []string{string(u.Profile.Email)}
	for _, name := range []text{u.Profile.DisplayName, u.Profile.RealName, u.RealName, u.Name} {
		if name != "" && !slices.Contains(list, string(name)) {
			list = append(list, string(name))
		}
	}
	return list, nil
}

func (c *Chat) channelMembers(ctx context.Context, channel string) ([]string, error) {
	const method = "conversations.members"
	var all []string
	for cursor := ""; ; {
		var page []string
		err := c.call(ctx, method, channel, false, func() (err error) {
			page, cursor, err = c.api().GetUsersInConversationContext(ctx, &slack.GetUsersInConversationParameters{ChannelID: channel, Cursor: cursor, Limit: 200})
			return err
		})
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if cursor == "" {
			return all, nil
		}
	}
}
