package slack

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// Resolve reads users and channels one by one, and all user groups in one call,
// because Slack allows that one about twenty times a minute.
func (c *Chat) Resolve(ctx context.Context, who []tickets.Principal) []adapters.Reach {
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
		return c.ofMany(ctx, reachGroup(p.ID, all, err))
	case tickets.Channel:
		return c.ofMany(ctx, c.reachChannel(ctx, p.ID))
	}
	return adapters.Reach{Problem: "Slack has no roles"}
}

func (c *Chat) reachUser(ctx context.Context, id string) adapters.Reach {
	who, err := c.person(ctx, id)
	if err != nil {
		return adapters.Reach{Err: fmt.Errorf("user %s: %w", id, err)}
	}
	r := reached("", who.name, who.problem, 1)
	if r.Problem == "" && !who.address {
		r.Nameless = c.unaddressed(ctx).problem
	}
	return r
}

// ofMany adds to r, of a group or a channel, why Slack tells nobody's address.
// If that cannot be found out, r tells all the same whom it is of.
func (c *Chat) ofMany(ctx context.Context, r adapters.Reach) adapters.Reach {
	if r.Err == nil && r.Problem == "" {
		if why, err := c.everybodys(ctx); err == nil && why != nil {
			r.Nameless = why.problem
		}
	}
	return r
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
	members, err := c.members.Get(ctx, string(tickets.Channel)+" "+id, func(ctx context.Context) ([]string, error) { return c.channelMembers(ctx, id) })
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
	if name = wording.Cut(wording.Line(name), 80); name != "" {
		name = sign + name
	}
	return adapters.Reach{Name: name, People: n, Counted: true, Problem: problem}
}
