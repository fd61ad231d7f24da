package commands

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const (
	// reachTime is how long the chats are asked whom a principal reaches.
	reachTime = 10 * time.Second
	// sendTime is kept of the time there is for an answer, to record what was
	// asked and to send it.
	sendTime = time.Second
)

// reach asks the chats about each of who, in their order. What they have not
// told in time has an error.
func (c *Config) reach(ctx context.Context, who []tickets.Principal) []adapters.Reach {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if end, ok := ctx.Deadline(); ok {
		ctx, cancel = context.WithDeadline(ctx, end.Add(-sendTime))
		defer cancel()
	}
	out := make([]adapters.Reach, len(who))
	var asking sync.WaitGroup
	for p := range c.Chats {
		asking.Go(func() {
			var theirs []tickets.Principal
			var at []int
			for i, one := range who {
				if one.Platform == p {
					theirs, at = append(theirs, one), append(at, i)
				}
			}
			if len(theirs) == 0 {
				return
			}
			for i, r := range c.Chats[p].Resolve(ctx, theirs) {
				out[at[i]] = r
			}
		})
	}
	asking.Wait()
	for i, p := range who {
		if c.Chats[p.Platform] == nil {
			out[i] = adapters.Reach{Problem: wording.PlatformName(p.Platform) + " is not configured"}
		}
		if err := out[i].Err; err != nil {
			c.Log.Warn("cannot tell whom a principal reaches", "principal", p.String(), "err", err)
		}
	}
	return out
}

// roles tells the asker what they are, and admins who else is what.
func (h *Handler) roles(ctx context.Context, c adapters.Command, _ []string) string {
	s := h.Settings.Current()
	admin, errAdmin := h.Access.HasAny(ctx, c.Actor, s.Admins)
	approver, errApprover := h.Access.HasAny(ctx, c.Actor, s.Approvers)
	for _, err := range []error{errAdmin, errApprover} {
		if err != nil {
			h.Log.Warn("cannot check what somebody is", "actor", c.Actor.String(), "err", err)
		}
	}
	lines := []string{sayYou("an admin", admin, errAdmin), sayYou("an approver", approver, errApprover)}
	if !admin {
		return strings.Join(lines, "\n")
	}
	reach := h.reach(ctx, slices.Concat(s.Approvers, s.Admins))
	lines = append(lines, h.sayRole("Approvers", "nobody can decide requests", s.Approvers, approving(reach[:len(s.Approvers)], s.SelfApproval))...)
	if len(s.Approvers) == 0 {
		lines = append(lines, wording.MsgNoApprovers+".")
	}
	lines = append(lines, h.sayRole("Admins", "nobody can change the settings in chat", s.Admins, reach[len(s.Approvers):])...)
	for _, key := range []string{tickets.KeyApprovers, tickets.KeyAdmins} {
		if err := h.Settings.Invalid()[key]; err != nil {
			lines = append(lines, fmt.Sprintf("The setting %s cannot be read in whole, and what can be read counts: %s.", key, err))
		}
	}
	return strings.Join(lines, "\n")
}

// goneTime is how long the chats are asked whether groups are gone, for an
// answer that is about something else.
const goneTime = 3 * time.Second

// sayGone says which groups, roles and channels of the approvers and admins are
// nobody at present. What cannot be read in time is not told of.
func (h *Handler) sayGone(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, goneTime+sendTime)
	defer cancel()
	s := h.Settings.Current()
	var who []tickets.Principal
	for _, p := range slices.Concat(s.Approvers, s.Admins) {
		if p.Kind != tickets.User && !slices.Contains(who, p) {
			who = append(who, p)
		}
	}
	if len(who) == 0 {
		return nil
	}
	var lines []string
	for i, r := range h.reach(ctx, who) {
		if r.Problem != "" {
			lines = append(lines, "Named as approvers or admins, but nobody: "+wording.MsgReach(who[i], r)+".")
		}
	}
	return lines
}

// approving is what reach says of approvers: those of whom the platform does
// not say who they are can decide nothing, unless own requests may be decided.
func approving(reach []adapters.Reach, own bool) []adapters.Reach {
	reach = slices.Clone(reach)
	for i, r := range reach {
		if !own && r.Problem == "" {
			reach[i].Problem = r.Nameless
		}
	}
	return reach
}

func sayYou(what string, are bool, err error) string {
	switch {
	case are:
		return "You are " + what + "."
	case err != nil:
		return "It cannot be found out right now whether you are " + what + "."
	}
	return "You are not " + what + "."
}

// sayRole lists ps by platform, those that are nobody first. without is what
// follows if all are.
func (h *Handler) sayRole(title, without string, ps []tickets.Principal, reach []adapters.Reach) []string {
	var lines []string
	nobody, nameless := len(ps) > 0, false
	for _, on := range slices.Sorted(maps.Keys(h.Chats)) {
		var wrong, right []string
		for i, p := range ps {
			if p.Platform != on {
				continue
			}
			line := "• " + wording.MsgReach(p, reach[i])
			if reach[i].Problem != "" || reach[i].Err != nil {
				wrong = append(wrong, line)
			} else {
				right = append(right, line)
			}
			nobody = nobody && reach[i].Problem != ""
			nameless = nameless || reach[i].Problem != "" && reach[i].Problem == reach[i].Nameless
		}
		if len(wrong)+len(right) > 0 {
			lines = append(lines, fmt.Sprintf("%s, in %s:", title, wording.PlatformName(on)))
		}
		lines = append(append(lines, wrong...), right...)
	}
	switch {
	case nobody && nameless:
		lines = append(lines, "None of them can be told from whoever asked, so that at present "+without+".")
	case nobody:
		lines = append(lines, "None of them is anybody, so that at present "+without+".")
	}
	return lines
}
