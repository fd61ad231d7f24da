package slack

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wire"
	"github.com/countersign/countersign/tickets"
)

// Reach reads users and channels one by one, and all user groups in one call,
// because Slack allows that one about twenty times a minute.
func (c *Chat) Reach(ctx context.Context, who []tickets.Principal) []adapters.Reach {
	groups := sync.OnceValues(func() (map[string]group, error) { return c.groups(ctx) })
	out := make([]adapters.Reach, len(who))
	slots := make(chan struct{}, 4) // at once
	var working sync.WaitGroup
	for i, p := range who {
		slots <- struct{}{}
		working.Go(func() {
			defer func() { <-slots }()
			out[i] = c.reach(ctx, p, groups)
		})
	}
	working.Wait()
	return out
}

func (c *Chat) reach(ctx context.Context, p tickets.Principal, groups func() (map[string]group, error)) adapters.Reach {
	if p.Platform != Platform {
		return adapters.Reach{Err: fmt.Errorf("slack: %s is nobody of Slack", p)}
	}
	switch p.Kind {
	case tickets.User:
		return c.reachUser(ctx, p.ID)
	case tickets.Group:
		all, err := groups()
		return reachGroup(p.ID, all, err)
	case tickets.Channel:
		return c.reachChannel(ctx, p.ID)
	}
	return adapters.Reach{Problem: "Slack has no roles"}
}

// reachUser believes for a minute what Slack told of somebody: there may be
// many, and Slack takes about a hundred such calls a minute.
func (c *Chat) reachUser(ctx context.Context, id string) adapters.Reach {
	told, err := c.members.Members(ctx, "account "+id, func(ctx context.Context) ([]string, error) {
		self, err := c.identity(ctx)
		if err != nil {
			return nil, err
		}
		u, err := c.account(ctx, id)
		switch {
		case isNoUser(err):
			return []string{"", "Slack knows no such user"}, nil
		case err != nil:
			return nil, err
		}
		return []string{u.name(), c.wrongWith(u, self)}, nil
	})
	if err != nil {
		return adapters.Reach{Err: fmt.Errorf("user %s: %w", id, err)}
	}
	return reached("", told[0], told[1], 1)
}

func reachGroup(id string, all map[string]group, err error) adapters.Reach {
	g, exists := all[id]
	switch {
	case slackError(err) == "plan_upgrade_required":
		return adapters.Reach{Problem: "this workspace has no user groups"}
	case err != nil:
		return adapters.Reach{Err: fmt.Errorf("user groups: %w", err)}
	case !exists:
		return adapters.Reach{Problem: "Slack knows no such user group"}
	case g.Deleted != "0" && g.Deleted != "":
		return reached("@", string(g.Handle), "the user group is disabled", 0)
	}
	return reached("@", string(g.Handle), "", len(g.Users))
}

func (c *Chat) reachChannel(ctx context.Context, id string) adapters.Reach {
	self, err := c.identity(ctx)
	if err != nil {
		return adapters.Reach{Err: err}
	}
	ch, err := c.channelInfo(ctx, id)
	switch {
	case slackError(err) == "channel_not_found":
		return adapters.Reach{Problem: "Countersign sees no such channel"}
	case err != nil:
		return adapters.Reach{Err: fmt.Errorf("channel %s: %w", id, err)}
	}
	members, err := c.members.Members(ctx, string(tickets.Channel)+" "+id, func(ctx context.Context) ([]string, error) { return c.channelMembers(ctx, id) })
	if err != nil {
		return adapters.Reach{Err: fmt.Errorf("members of channel %s: %w", id, err)}
	}
	n := len(members)
	if slices.Contains(members, self.user) {
		n--
	}
	return reached("#", string(ch.Name), "", n)
}

// reached is the answer for n people, or nobody for that reason.
func reached(sign, name, problem string, n int) adapters.Reach {
	if problem == "" && n == 0 {
		problem = "nobody is in it"
	}
	if problem != "" {
		n = 0
	}
	if name = adapters.Cut(adapters.Line(name), 80); name != "" {
		name = sign + name
	}
	return adapters.Reach{Name: name, People: n, Counted: true, Problem: problem}
}

// account is a user as far as being somebody who may act goes.
type account struct {
	ID       string    `json:"id"`
	Name     wire.Text `json:"name"`
	RealName wire.Text `json:"real_name"`
	Team     string    `json:"team_id"`
	Deleted  bool      `json:"deleted"`
	Bot      bool      `json:"is_bot"`
	Grid     struct {
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
	ours := u.Team == "" || u.Team == self.team || slices.Contains(c.cfg.Teams, u.Team) ||
		(self.enterprise != "" && u.Grid.Enterprise == self.enterprise)
	switch {
	case u.Deleted:
		return "the account is deactivated"
	case u.Bot || u.ID == "USLACKBOT":
		return "it is a bot: it can neither decide nor read a message"
	case !ours:
		return "they belong to another workspace, whose people may not act here"
	}
	return ""
}
