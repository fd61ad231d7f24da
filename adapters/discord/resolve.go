package discord

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const (
	routeRoles  = "/guilds/{guild}/roles"
	routeCounts = "/guilds/{guild}/roles/member-counts"
)

// Resolve reads users one by one, and the roles with their numbers of members
// in one call each. To list who has a role a bot would need a privileged
// intent; to count them it does not.
func (c *Chat) Resolve(ctx context.Context, who []tickets.Principal) []adapters.Reach {
	roles := sync.OnceValues(func() (guildRoles, error) { return c.guildRoles(ctx) })
	out := make([]adapters.Reach, len(who))
	slots := make(chan struct{}, 4) // at once
	var working sync.WaitGroup
	for i, p := range who {
		slots <- struct{}{}
		working.Go(func() {
			defer func() { <-slots }()
			switch {
			case p.Platform != Platform:
				out[i] = adapters.Reach{Err: fmt.Errorf("discord: %s is nobody of Discord", p)}
			case p.Kind == tickets.User:
				out[i] = c.reachUser(ctx, p.ID)
			case p.Kind == tickets.Role:
				all, err := roles()
				out[i] = all.reach(p.ID, c.cfg.Guild, err)
			default:
				out[i] = adapters.Reach{Problem: "Discord has no such thing as a " + string(p.Kind)}
			}
		})
	}
	working.Wait()
	return out
}

// guildRoles are the server's roles.
type guildRoles struct {
	list   []roleInfo
	counts map[string]int // members, by role; nil if Discord does not tell
}

func (c *Chat) guildRoles(ctx context.Context) (guildRoles, error) {
	var all guildRoles
	path := "/guilds/" + c.cfg.Guild + "/roles"
	if err := c.call(ctx, request{method: http.MethodGet, route: routeRoles, path: path}, &all.list); err != nil {
		return all, err
	}
	if err := c.call(ctx, request{method: http.MethodGet, route: routeCounts, path: path + "/member-counts"}, &all.counts); err != nil {
		c.log.Warn("discord does not tell how many have a role", "err", err)
		all.counts = nil
	}
	return all, nil
}

func (all guildRoles) reach(id, guild string, err error) adapters.Reach {
	if err != nil {
		return adapters.Reach{Err: fmt.Errorf("roles of the server: %w", err)}
	}
	i := slices.IndexFunc(all.list, func(r roleInfo) bool { return string(r.ID) == id })
	if i < 0 {
		return adapters.Reach{Problem: "the server has no such role"}
	}
	r := adapters.Reach{Name: called("@", string(all.list[i].Name))}
	if id == guild { // @everyone, which is not counted
		return r
	}
	if r.People, r.Counted = all.counts[id]; r.Counted && r.People == 0 {
		r.Problem = "nobody has this role"
	}
	return r
}

// called is a name as people read it.
func called(sign, name string) string {
	if name = wording.Cut(wording.Line(name), 80); name == "" || strings.HasPrefix(name, sign) {
		return name // as @everyone
	}
	return sign + name
}

func (c *Chat) reachUser(ctx context.Context, id string) adapters.Reach {
	who, err := c.person(ctx, id)
	switch {
	case err != nil:
		return adapters.Reach{Err: fmt.Errorf("user %s: %w", id, err)}
	case who.problem != "":
		return adapters.Reach{Name: called("", who.name), Counted: true, Problem: who.problem}
	}
	return adapters.Reach{Name: called("", who.name), People: 1, Counted: true}
}
