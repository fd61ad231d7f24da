package discord

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"cmp"

	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

// HasRole reports whether a is p or has the role p. Roles are those that came
// with what a did, or as Discord told them at most a minute ago.
func (c *Chat) HasRole(ctx context.Context, p tickets.Principal, a tickets.Actor) (bool, error) {
	if p.Platform != Platform || a.Platform != Platform || a.ID == "" {
		return false, nil
	}
	switch p.Kind {
	case tickets.User:
		return p.ID == a.ID, nil
	case tickets.Role:
		roles, err := c.roles.Get(ctx, a.ID, func(ctx context.Context) ([]string, error) { return c.memberRoles(ctx, a.ID) })
		if err != nil {
			return false, fmt.Errorf("roles of %s: %w", a, err)
		}
		return slices.Contains(roles, p.ID), nil
	}
	return false, fmt.Errorf("discord: %s: Discord has no groups; name a user or a role", p)
}

// Sees reports whether a acts in place itself: Discord does not tell a bot who
// sees a channel, and lets nobody act in one that they do not see.
func (c *Chat) Sees(_ context.Context, a tickets.Actor, in, place tickets.Place) (bool, error) {
	return place.Platform == Platform && a.Platform == Platform && in == place, nil
}

func (c *Chat) memberRoles(ctx context.Context, user string) ([]string, error) {
	var member struct {
		Roles []string `json:"roles"`
	}
	err := c.call(ctx, request{method: http.MethodGet, route: routeMember, path: "/guilds/" + c.cfg.Guild + "/members/" + url.PathEscape(user)}, &member)
	if codeOf(err) == codeUnknownMember || codeOf(err) == codeUnknownUser {
		return nil, nil // has left the server
	}
	return member.Roles, err
}

// Identify returns what a is called, as it came with what a did or as Discord
// told it at most a minute ago. Discord tells a bot nobody's address.
func (c *Chat) Identify(ctx context.Context, a tickets.Actor) (selfcheck.Identity, error) {
	if a.Platform != Platform || a.ID == "" {
		return selfcheck.Identity{}, fmt.Errorf("discord: %s is nobody of Discord", a)
	}
	names, err := c.names.Get(ctx, a.ID, func(ctx context.Context) ([]string, error) { return c.memberNames(ctx, a.ID) })
	if err != nil {
		return selfcheck.Identity{}, fmt.Errorf("names of %s: %w", a, err)
	}
	return selfcheck.Identity{Names: names}, nil
}

func (c *Chat) memberNames(ctx context.Context, user string) ([]string, error) {
	var m member
	err := c.call(ctx, request{method: http.MethodGet, route: routeMember, path: "/guilds/" + c.cfg.Guild + "/members/" + url.PathEscape(user)}, &m)
	if err == nil && string(m.User.ID) != user {
		err = &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord %s: %w", routeMember, errNoEcho)}
	}
	return m.names(), err
}

// somebody is a person as Discord told of them.
type somebody struct {
	name    string
	problem string // why they can do nothing with us, or ""
}

// person believes for a minute what Discord told of somebody.
func (c *Chat) person(ctx context.Context, id string) (somebody, error) {
	return c.people.Get(ctx, id, func(ctx context.Context) (somebody, error) {
		var m struct {
			member
			User struct {
				user
				Bot bool `json:"bot"`
			} `json:"user"`
		}
		err := c.call(ctx, request{method: http.MethodGet, route: routeMember, path: "/guilds/" + c.cfg.Guild + "/members/" + url.PathEscape(id)}, &m)
		switch {
		case codeOf(err) == codeUnknownMember:
			return somebody{problem: "they are not in the server"}, nil
		case codeOf(err) == codeUnknownUser:
			return somebody{problem: "Discord knows no such user"}, nil
		case err == nil && string(m.User.ID) != id:
			err = &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord %s: %w", routeMember, errNoEcho)}
		}
		if err != nil {
			return somebody{}, err
		}
		who := somebody{name: string(cmp.Or(m.Nick, m.User.GlobalName, m.User.Username))}
		if m.User.Bot {
			who.problem = "it is a bot: it can neither decide nor read a message"
		}
		return who, nil
	})
}
