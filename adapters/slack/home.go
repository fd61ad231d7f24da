package slack

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

const (
	homeTab = "home" // the type of a view, and the name of the tab
	// homeTime is what the Handler has for a home tab.
	homeTime = 6 * time.Second
	// maxPublish is how often one is published until Slack takes it.
	maxPublish = 3
	// homeMark stands at the end of the private metadata of a form that was opened from a home tab, which is published again when the
	// form has been sent.
	homeMark = " home"
	// showWaiting is how much of a reason a queue shows, in runes.
	showWaiting = 300
)

// homeView is somebody's home tab: a Home, or words in its place.
func homeView(a adapters.Answer, now time.Time) slack.HomeTabViewRequest {
	var blocks []slack.Block
	switch a := a.(type) {
	case adapters.Home:
		blocks = homeBlocks(a)
	case adapters.Note:
		_, blocks = note(a.Text)
	default:
		_, blocks = note("")
	}
	blocks = append(blocks, slack.NewContextBlock("", mrkdwn("As of "+date(now)+". Open this tab again to see it anew")))
	return slack.HomeTabViewRequest{Type: homeTab, Blocks: slack.Blocks{BlockSet: blocks}}
}

// homeBlocks are at most 5 + 3 * adapters.MaxQueue.
func homeBlocks(h adapters.Home) []slack.Block {
	title := func(s string) slack.Block { return slack.NewHeaderBlock(plainEmoji(s)) }
	lines := func(s string) slack.Block { return section(plain(wording.Cut(wording.Visible(s), showNote))) }
	blocks := []slack.Block{title(wording.LabelQueue), lines(cmp.Or(h.Intro, wording.MsgNothingWaits))}
	for _, w := range h.Queue[:min(len(h.Queue), adapters.MaxQueue)] {
		blocks = append(blocks, waiting(w)...)
	}
	if h.More > 0 {
		blocks = append(blocks, lines(wording.MsgMore(h.More)))
	}
	if h.Health != "" {
		blocks = append(blocks, title(wording.LabelHealth), lines(h.Health))
	}
	return blocks
}

// waiting is a ticket in a queue.
func waiting(w adapters.Waiting) []slack.Block {
	t := w.Ticket
	says := []string{wording.Emoji(t) + " " + string(t.Number) + " · " + wording.Subject(t)}
	if warning := wording.Warning(t); warning != "" {
		says = append(says, warning)
	}
	if t.Request != nil {
		if asked := wording.AskedFor(t.Request); asked != "" {
			says = append(says, "Asked for: "+wording.Cut(wording.Line(asked), showShort))
		}
		if strings.TrimSpace(t.Request.Reason) != "" {
			says = append(says, wording.Quote("Reason given", t.Request.Reason, showWaiting))
		}
	}
	since := []slack.MixedElement{mrkdwn("Waiting since " + date(t.Created))}
	if w.Own != "" {
		since = append(since, plain(wording.Cut(wording.Line(w.Own), showWhy)))
	}
	return []slack.Block{
		section(plain(strings.Join(says, "\n"))),
		slack.NewContextBlock("", since...),
		slack.NewActionBlock(string(t.Number)+" "+actionsID(t), buttons(t, w.Own == "")...),
	}
}

// fromHome reports whether in is about a home tab, or a form opened from one.
func (in *interaction) fromHome() bool {
	return in.View.Type == homeTab || strings.HasSuffix(string(in.View.PrivateMetadata), homeMark)
}

// about is the ticket that a form is about, and the digest of its request as
// the form shows it.
func (v *view) about() (tickets.Number, tickets.RequestDigest) {
	metadata, _ := strings.CutSuffix(string(v.PrivateMetadata), homeMark)
	number, digest, _ := strings.Cut(metadata, " ")
	d, _ := tickets.ParseRequestDigest(digest)
	return tickets.Number(number), d
}

// marked is v, which answers in: a form of a home tab stays one.
func (in *interaction) marked(v slack.ModalViewRequest) slack.ModalViewRequest {
	if in.fromHome() && v.PrivateMetadata != "" {
		v.PrivateMetadata += homeMark
	}
	return v
}

// refreshing is s, after which the home tab that in came from is shown anew:
// what waited may have been decided, here or by somebody else.
func (c *Chat) refreshing(s response, in *interaction, h adapters.Handler) response {
	if form, ok := s.ack.(submission); !in.fromHome() || ok && form.Action == "errors" {
		return s // the form goes on
	}
	return s.and(func(ctx context.Context) { c.showHome(ctx, in.actor(), "", h) })
}

// and is s with something more to do after the answer.
func (s response) and(next func(context.Context)) response {
	first := s.after
	s.after = func(ctx context.Context) {
		if first != nil {
			first(ctx)
		}
		next(ctx)
	}
	if s.fallbackAck != nil {
		small := s.fallbackAck.and(next)
		s.fallbackAck = &small
	}
	return s
}

// homeOpened answers the event that somebody has opened a tab of ours. Before
// Slack has told who we are it is left alone, like everything else.
func (c *Chat) homeOpened(e *event, h adapters.Handler) response {
	if h == nil || e.Event.Tab != homeTab {
		return response{}
	}
	from := sender{app: string(e.AppID), team: string(e.TeamID), enterprise: string(e.EnterpriseID), user: string(e.Event.User), typed: true}
	return response{after: func(ctx context.Context) {
		if c.strangerCheck(ctx, from) == "" {
			c.showHome(ctx, tickets.Actor{Platform: Platform, ID: from.user}, string(e.Event.View.Hash), h)
		}
	}}
}

// showHome publishes a's home tab as things are now. hash, if it is known, is
// of the tab that a was seeing: one that was published since was made later
// than that, and this one is then made once more.
func (c *Chat) showHome(ctx context.Context, a tickets.Actor, hash string, h adapters.Handler) {
	made := c.homes.make(a.ID, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
		defer cancel()
		var err error
		if hash, err = c.publish(ctx, a, hash, h); err != nil {
			c.log.Warn("a home tab was not published", "actor", a.ID, "err", err)
		}
	})
	if !made {
		c.log.Warn("a home tab was not published: too many were opened at once", "actor", a.ID)
	}
}

// publish makes a's home tab and publishes it, and returns its hash. It may be
// repeated.
func (c *Chat) publish(ctx context.Context, a tickets.Actor, hash string, h adapters.Handler) (string, error) {
	const method = "views.publish"
	plainly := false
	for attempt := 1; ; attempt++ {
		var answer adapters.Answer = adapters.Note{Text: sayNoHome}
		if !plainly {
			answer = chatkit.CallHandler(ctx, time.Now().Add(homeTime), c.log, func(ctx context.Context) adapters.Answer { return h.Home(ctx, a) })
		}
		request := slack.PublishViewContextRequest{UserID: a.ID, View: homeView(answer, c.cfg.Now())}
		c.lintView(request.View)
		if hash != "" {
			was := hash
			request.Hash = &was
		}
		err := c.call(ctx, method, "", false, func() error {
			published, err := c.api().PublishViewContext(ctx, request)
			if err == nil {
				hash = published.Hash
			}
			return err
		})
		switch {
		case err == nil:
			return hash, nil
		case attempt == maxPublish:
			return "", err
		}
		f := tickets.FailureOf(err)
		switch {
		case slackError(err) == "hash_conflict":
			hash = ""
		case isInvalid(err) && !plainly:
			c.log.Error("slack refuses a home tab, publishing a plain one", "actor", a.ID, "err", err)
			plainly = true
		case f.Class == tickets.RateLimited: // the next call waits, unless that is too long
		case f.Class != tickets.Unavailable, !chatkit.Sleep(ctx, time.Duration(attempt)*againAfter):
			return "", err
		}
	}
}

const sayNoHome = "Slack does not take what should be shown here. /" + adapters.CommandName + " tickets pending lists what waits for a decision"

// maxHomes is how many home tabs are made at a time. Whoever opens one beyond
// that sees the one from before: clicks and forms must not wait behind tabs.
const maxHomes = 8

// homes has one home tab at a time made for each person: the last one that is
// published was made last.
type homes struct {
	mu   sync.Mutex
	busy map[string]*bool // by user: whether it was asked for again meanwhile
}

// make calls one, and again if it was to be called for user meanwhile. If
// somebody else is at it, they call theirs again. It reports false if there
// are too many.
func (h *homes) make(user string, one func()) bool {
	h.mu.Lock()
	again := h.busy[user]
	if again != nil || len(h.busy) >= maxHomes {
		if again != nil {
			*again = true
		}
		h.mu.Unlock()
		return again != nil
	}
	if h.busy == nil {
		h.busy = map[string]*bool{}
	}
	again = new(bool)
	h.busy[user] = again
	h.mu.Unlock()
	done := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		if *again {
			*again = false
			return false
		}
		delete(h.busy, user)
		return true
	}
	ended := false
	defer func() {
		for !ended { // one has panicked
			ended = done()
		}
	}()
	for !ended {
		one()
		ended = done()
	}
	return true
}
