package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/dedup"
	"github.com/countersign/countersign/adapters/chatkit/drain"
	"github.com/countersign/countersign/adapters/chatkit/health"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/chatkit/ratelimit"
	"github.com/countersign/countersign/adapters/chatkit/signed"
	"github.com/countersign/countersign/adapters/chatkit/ttl"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// Platform is Slack's name in places, actors and principals.
const Platform tickets.Platform = "slack"

// DefaultAPIURL is Slack's Web API.
const DefaultAPIURL = "https://slack.com/api/"

// Config says which Slack app this is. A bot token is needed, and an app
// token or a signing secret to hear what people do.
type Config struct {
	BotToken       string   // bot token, xoxb-…; required
	AppToken       string   // app-level token, xapp-…, which switches Socket Mode on; default none
	SigningSecrets []string // secrets that sign requests over HTTP: the current one and, while rotating, the previous; default none
	APIURL         string   // address of the Web API, for GovSlack and tests; default DefaultAPIURL

	// Current are the three secrets at present, asked whenever one is needed,
	// for ones that change while the chat works. Whether there is an app token
	// or a signing secret does not change. Default those above.
	Current func() Secrets

	AppID string   // id of the app, A…, that requests must name; default what Slack tells
	Teams []string // ids of further workspaces whose people may act, for an organisation with several; default only the bot's own

	Transport http.RoundTripper // makes the calls, for metrics; default http.DefaultTransport
	Timeout   time.Duration     // of one call; default 10 s
	Pace      Pace              // how fast Slack is called; default as in Pace
	Limiter   ratelimit.Limiter // where several processes count their calls together; default none, this process is alone
	// Connections is where several processes count their connections of Socket
	// Mode together; default none, this process is alone.
	Connections Connections
	// Foreign records how many connections the app has that are not of this
	// installation, whenever that is found to be different; default not.
	Foreign func(ctx context.Context, n int) error
	// Compare is how long after a connection showed foreign ones it is replaced:
	// only a new one tells how many there are. Default 5 min.
	Compare time.Duration

	Workers int // deliveries worked on at once in Socket Mode; default 32
	// AnswerTime is how long Slack waits for an answer to what somebody did;
	// default [chatkit.AnswerTime]. Tests have slower machines.
	AnswerTime time.Duration
	Drain      time.Duration // what commands under way get when Run is told to end; default 6 s

	Refused func(signed.Reason) // is told of each signed request that is refused; default nothing

	Card func() wording.Card // what the settings say about cards, asked for each; default the zero Card
	Log  *slog.Logger        // default slog.Default()
	Now  func() time.Time    // dates what is remembered; default time.Now
}

// String keeps the tokens out of logs.
func (Config) String() string { return "[slack config]" }

// GoString keeps the tokens out of %#v.
func (Config) GoString() string { return "[slack config]" }

// LogValue keeps the tokens out of slog.
func (Config) LogValue() slog.Value { return slog.StringValue("[slack config]") }

// Chat is Slack as a chat of Countersign.
type Chat struct {
	cfg     Config
	within  chatkit.Deadlines // of answers
	changes bool              // of the tokens are possible
	base    *url.URL          // of the Web API, ends with a slash
	http    *http.Client
	log     *slog.Logger
	pace    *pacer

	members  *ttl.Cache[[]string]        // of groups and channels
	profiles *ttl.Cache[[]string]        // of people: the address, then names
	people   *ttl.Cache[somebody]        // by user
	hidden   *ttl.Cache[*missing]        // why Slack tells nobody's address; one value
	seen     *dedup.Deliveries[response] // deliveries
	forms    *newest                     // changes of open forms
	homes    homes                       // home tabs that are being made
	work     drain.Tracker               // deliveries being worked on
	commands chan struct{}               // a place for each that is being worked on
	standing health.Auth
	requests *signed.Requests // over HTTP

	listening sync.WaitGroup // connections of Socket Mode

	mu               sync.Mutex
	connectionStates []*health.Connection // of Socket Mode, the newest last
	sockets          []*socket            // that are open, the newest last
	connections      connections
	self             *identity  // nil until auth.test has told
	appID            string     // "" until known
	dead             chan error // a reason to stop, from an event
}

// timestamp is how Slack writes the ids of messages: seconds, and six digits
// that tell apart what is of one second (defs_ts in slackapi/slack-api-specs).
var timestamp = regexp.MustCompile(`^[0-9]{10}\.[0-9]{6}$`)

func isTS(s string) bool { return timestamp.MatchString(s) }

// identity is who the bot is in Slack.
type identity struct{ team, enterprise, user, bot string }

var (
	_ adapters.Chat          = (*Chat)(nil)
	_ adapters.Diagnoser     = (*Chat)(nil)
	_ adapters.HTTPEndpoints = (*Chat)(nil)
)

// New returns the chat for cfg. It calls nobody.
func New(cfg Config) (*Chat, error) {
	var wrong []error
	switch {
	case cfg.BotToken == "":
		wrong = append(wrong, errors.New("the bot token is missing"))
	case MsgRotating(cfg.BotToken) != "":
		wrong = append(wrong, errors.New("the bot token "+MsgRotating(cfg.BotToken)))
	case strings.HasPrefix(cfg.BotToken, "xapp-"):
		wrong = append(wrong, errors.New("the bot token is an app-level token; the bot token begins with xoxb-"))
	}
	if cfg.AppToken != "" && strings.HasPrefix(cfg.AppToken, "xox") {
		wrong = append(wrong, errors.New("the app token is another kind of token; an app-level token begins with xapp-"))
	}
	var secrets []string
	for _, s := range cfg.SigningSecrets {
		if s != "" {
			secrets = append(secrets, s)
		}
	}
	cfg.SigningSecrets = secrets
	if cfg.AppToken == "" && len(secrets) == 0 {
		wrong = append(wrong, errors.New("an app token (Socket Mode) or a signing secret (HTTP) is needed"))
	}
	if cfg.APIURL == "" {
		cfg.APIURL = DefaultAPIURL
	}
	if !strings.HasSuffix(cfg.APIURL, "/") {
		cfg.APIURL += "/"
	}
	base, err := neterr.BaseURL(cfg.APIURL)
	wrong = append(wrong, err)
	if err := errors.Join(wrong...); err != nil {
		return nil, fmt.Errorf("slack: %w", err)
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Compare <= 0 {
		cfg.Compare = 5 * time.Minute
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 32
	}
	if cfg.Drain <= 0 {
		cfg.Drain = 6 * time.Second
	}
	changes := cfg.Current != nil
	if !changes {
		first := Secrets{BotToken: cfg.BotToken, AppToken: cfg.AppToken, SigningSecrets: cfg.SigningSecrets}
		cfg.Current = func() Secrets { return first }
	}
	if cfg.Card == nil {
		cfg.Card = func() wording.Card { return wording.Card{} }
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Chat{
		within:  chatkit.NewDeadlines(cfg.AnswerTime),
		cfg:     cfg,
		changes: changes,
		base:    base,
		http: &http.Client{
			Transport: bounded{cfg.Transport},
			Timeout:   cfg.Timeout,
			// A redirect would carry the token elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:         cfg.Log.With("platform", string(Platform)),
		pace:        newPacer(cfg.Pace, cfg.Limiter),
		members:     ttl.NewCache[[]string](chatkit.BelieveFor, cfg.Now),
		profiles:    ttl.NewCache[[]string](chatkit.BelieveFor, cfg.Now),
		people:      ttl.NewCache[somebody](chatkit.BelieveFor, cfg.Now),
		hidden:      ttl.NewCache[*missing](chatkit.BelieveFor, cfg.Now),
		seen:        dedup.NewDeliveries[response](keepSeen, cfg.Now),
		commands:    make(chan struct{}, adapters.MaxCommands),
		forms:       newNewest(cfg.Now),
		connections: newConnections(),
		appID:       cfg.AppID,
		dead:        make(chan error, 1),
	}
	c.requests = signed.New(signed.Config{
		Stamp: stamp, Verify: c.verify, Advice: "compare the signing secret with the app's page Basic Information",
		Within: cfg.AnswerTime, Refused: cfg.Refused, Log: c.log, // by this machine's clock
	})
	return c, nil
}

// String keeps what c holds out of logs.
func (c *Chat) String() string { return string(Platform) }

// GoString keeps what c holds out of %#v.
func (c *Chat) GoString() string { return string(Platform) }

// Platform is [Platform].
func (c *Chat) Platform() tickets.Platform { return Platform }

// Post shows t in place. The message carries metadata with the ticket's
// number, by which a lost one is found again.
func (c *Chat) Post(ctx context.Context, place tickets.Place, t *tickets.Ticket, since time.Time) (string, error) {
	if !since.IsZero() {
		ts, rev, err := c.find(ctx, place.Channel, "", t.Number, 0, since)
		if err != nil {
			return "", err
		}
		if ts != "" {
			if rev == t.Rev {
				return ts, nil
			}
			// Found as it was posted: make it show what the caller will record.
			err := c.Edit(ctx, tickets.Message{Place: place, ID: ts}, t)
			if err == nil {
				return ts, nil
			}
			if tickets.FailureOf(err).Class != tickets.NotFound {
				return "", err
			}
		}
	}
	return c.post(ctx, place, "", t.Number, c.card(t), t.Rev)
}

// post sends one message, in a thread if thread is not empty, and returns its
// id. What is no id is not kept: it may be anything, our own token that comes
// back included.
func (c *Chat) post(ctx context.Context, place tickets.Place, thread string, n tickets.Number, m message, rev int) (string, error) {
	m = c.sendable(m, n)
	for {
		options := []slack.MsgOption{
			slack.MsgOptionText(m.text, false), // escaped by whoever wrote it
			slack.MsgOptionBlocks(m.blocks...),
			slack.MsgOptionMetadata(mark(n, place, rev)),
			slack.MsgOptionDisableLinkUnfurl(),
			slack.MsgOptionDisableMediaUnfurl(),
		}
		if thread != "" {
			options = append(options, slack.MsgOptionTS(thread))
		}
		var ts string
		err := c.call(ctx, methodPost, place.Channel, true, func() error {
			channel, got, err := c.api().PostMessageContext(ctx, place.Channel, options...)
			if err == nil && (!isTS(got) || channel == "") {
				err = errNoEcho
			}
			ts = got
			return err
		})
		if err == nil {
			return ts, nil
		}
		if m.simple != nil && isInvalid(err) {
			c.log.Error("slack refuses a message, sending a plain one", "ticket", string(n), "channel", place.Channel, "err", err)
			m = *m.simple
			continue
		}
		return "", err
	}
}

// Edit makes m show t.
func (c *Chat) Edit(ctx context.Context, m tickets.Message, t *tickets.Ticket) error {
	show := c.sendable(c.card(t), t.Number)
	for {
		err := c.call(ctx, methodUpdate, m.Place.Channel, true, func() error {
			_, ts, _, err := c.api().UpdateMessageContext(ctx, m.Place.Channel, m.ID,
				slack.MsgOptionText(show.text, false),
				slack.MsgOptionBlocks(show.blocks...),
				slack.MsgOptionMetadata(mark(t.Number, m.Place, t.Rev)),
			)
			if err == nil && ts != m.ID {
				err = errNoEcho
			}
			return err
		})
		if show.simple != nil && isInvalid(err) {
			c.log.Error("slack refuses an edit, sending a plain one", "ticket", string(t.Number), "channel", m.Place.Channel, "err", err)
			show = *show.simple
			continue
		}
		return err
	}
}

// Present looks for m in the history of its channel. The message of an app that
// was created anew is there, and is no more ours.
func (c *Chat) Present(ctx context.Context, m tickets.Message) (bool, error) {
	self, err := c.identity(ctx)
	if err != nil {
		return false, err
	}
	const method = "conversations.history"
	args := url.Values{"channel": {m.Place.Channel}, "oldest": {m.ID}, "latest": {m.ID}, "inclusive": {"1"}, "limit": {"1"}}
	var page struct {
		Messages []found `json:"messages"`
	}
	err = c.call(ctx, method, m.Place.Channel, false, func() error {
		err := c.read(ctx, method, args, &page)
		if err == nil && page.Messages == nil {
			err = errNoList
		}
		return err
	})
	switch {
	case slackError(err) == "missing_scope": // the set-up leaves it to people
		return c.linked(ctx, m)
	case err != nil:
		return false, err
	}
	return slices.ContainsFunc(page.Messages, func(f found) bool { return f.TS == m.ID && f.by(self) }), nil
}

// linked reports whether there is a link to m, which needs no scope; whose m is
// it does not tell.
func (c *Chat) linked(ctx context.Context, m tickets.Message) (bool, error) {
	const method = "chat.getPermalink"
	err := c.call(ctx, method, m.Place.Channel, false, func() error {
		_, err := c.api().GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: m.Place.Channel, Ts: m.ID})
		return err
	})
	if slackError(err) == "message_not_found" {
		return false, nil
	}
	return err == nil, err
}

// Reply tells an event of t in the thread of m. Its metadata holds the
// event's number as rev.
func (c *Chat) Reply(ctx context.Context, m tickets.Message, t *tickets.Ticket, event int, since time.Time) error {
	if !since.IsZero() {
		ts, _, err := c.find(ctx, m.Place.Channel, m.ID, t.Number, event, since)
		if err != nil || ts != "" {
			return err
		}
	}
	_, err := c.post(ctx, m.Place, m.ID, t.Number, c.reply(t, event), event)
	return err
}

// mark is the metadata of our messages. Everybody in the workspace can read it.
func mark(n tickets.Number, place tickets.Place, rev int) slack.SlackMetadata {
	return slack.SlackMetadata{
		EventType:    adapters.MetadataEvent,
		EventPayload: map[string]any{"ticket": string(n), "place": place.String(), "rev": rev},
	}
}

// lookMargin is how far before the first attempt a message is looked for: our
// clock and Slack's may differ.
const lookMargin = 15 * time.Minute

// found is a message as far as looking for our own needs it.
type found struct {
	TS       string `json:"ts"`
	ThreadTS string `json:"thread_ts"`
	User     string `json:"user"`
	BotID    string `json:"bot_id"`
	Metadata struct {
		EventType    string `json:"event_type"`
		EventPayload struct {
			Ticket text `json:"ticket"`
			Rev    text `json:"rev"`
		} `json:"event_payload"`
	} `json:"metadata"`
}

// by reports whether we have sent m.
func (m *found) by(self identity) bool {
	return self.user != "" && m.User == self.user || self.bot != "" && m.BotID == self.bot
}

// find looks for a message of ours that was sent at or after since: the card
// of ticket n or, in a thread, its reply about event. It returns "" if there
// is none, or if looking is not allowed here: then a second message is the
// smaller harm, since the buttons of both work.
func (c *Chat) find(ctx context.Context, channel, thread string, n tickets.Number, event int, since time.Time) (ts string, rev int, err error) {
	self, err := c.identity(ctx)
	if err != nil {
		return "", 0, err
	}
	method := "conversations.history"
	args := url.Values{
		"channel":              {channel},
		"oldest":               {strconv.FormatInt(since.Add(-lookMargin).Unix(), 10)},
		"inclusive":            {"1"},
		"limit":                {"200"},
		"include_all_metadata": {"1"},
	}
	if thread != "" {
		method = "conversations.replies"
		args.Set("ts", thread)
	}
	for {
		var page struct {
			Messages []found `json:"messages"`
			HasMore  bool    `json:"has_more"`
			Next     struct {
				Cursor string `json:"next_cursor"`
			} `json:"response_metadata"`
		}
		err := c.call(ctx, method, channel, false, func() error {
			err := c.read(ctx, method, args, &page)
			if err == nil && page.Messages == nil {
				err = errNoList // it does not say that there is none
			}
			return err
		})
		if err != nil {
			switch tickets.FailureOf(err).Class {
			case tickets.Unauthorized, tickets.NotFound, tickets.Rejected:
				c.log.Warn("cannot look for an earlier message, sending another", "ticket", string(n), "channel", channel, "err", err)
				return "", 0, nil
			}
			return "", 0, err
		}
		for _, m := range page.Messages {
			p := m.Metadata.EventPayload
			inThread := m.ThreadTS != "" && m.ThreadTS != m.TS
			if !m.by(self) || m.Metadata.EventType != adapters.MetadataEvent || string(p.Ticket) != string(n) || inThread != (thread != "") {
				continue
			}
			rev, err := strconv.Atoi(string(p.Rev))
			if err != nil || (thread != "" && rev != event) {
				continue
			}
			if !isTS(m.TS) {
				return "", 0, failure(method, false, errNoEcho)
			}
			return m.TS, rev, nil
		}
		if page.Next.Cursor == "" {
			return "", 0, nil
		}
		args.Set("cursor", page.Next.Cursor)
	}
}

// maxAnswer bounds an answer of Slack, in bytes, as it is after it was
// decompressed: a page of 200 large messages stays well below.
const maxAnswer = 8 << 20

// bounded makes calls whose answers end with an error after maxAnswer: the
// library reads them to their end.
type bounded struct{ next http.RoundTripper }

// RoundTrip makes one call.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(r)
	if err == nil && res.Body != nil {
		res.Body = http.MaxBytesReader(nil, res.Body, maxAnswer)
	}
	return res, err
}

// read calls a method that only reads, and decodes no more of the answer than
// into holds. Its errors are the library's.
func (c *Chat) read(ctx context.Context, method string, args url.Values, into any) error {
	_, err := c.fetch(ctx, method, args, into)
	return err
}

// fetch is read, and the header of the answer.
func (c *Chat) fetch(ctx context.Context, method string, args url.Values, into any) (http.Header, error) {
	form := url.Values{"token": {c.secrets().BotToken}}
	for k, v := range args {
		form[k] = v
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.APIURL+method, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusTooManyRequests {
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
			return nil, &slack.RateLimitedError{RetryAfter: time.Duration(s) * time.Second}
		}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, slack.StatusCodeError{Code: resp.StatusCode}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var head struct {
		OK    bool `json:"ok"`
		Error text `json:"error"`
		Need  text `json:"needed"`
	}
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(body, &head)); err != nil {
		return nil, err
	}
	if !head.OK {
		return nil, slack.SlackErrorResponse{Err: string(head.Error), Needed: string(head.Need)}
	}
	return resp.Header, jsonx.IgnoreTypeErrors(json.Unmarshal(body, into))
}

// call makes one call of a method within the pace, and tells what its error
// means.
func (c *Chat) call(ctx context.Context, method, channel string, effect bool, do func() error) error {
	if err := c.pace.wait(ctx, method, channel); err != nil {
		return err
	}
	with := c.secrets().BotToken
	err := do()
	if err == nil {
		c.standing.Accepted()
		return nil
	}
	f := failure(method, effect, err)
	if f.Class == tickets.Unauthorized && c.secrets().BotToken != with {
		return c.call(ctx, method, channel, effect, do) // it was replaced meanwhile
	}
	switch f.Class {
	case tickets.RateLimited:
		c.pace.close(ctx, method, channel, f.RetryAfter)
	case tickets.Unauthorized:
		if slackError(err) != "missing_scope" { // one method's trouble, not the token's
			c.standing.Rejected(f.Err)
		}
	}
	return f
}

// identity is who we are, asked once.
func (c *Chat) identity(ctx context.Context) (identity, error) {
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self != nil {
		return *self, nil
	}
	var got identity
	err := c.call(ctx, "auth.test", "", false, func() error {
		r, err := c.api().AuthTestContext(ctx)
		if err != nil {
			return err
		}
		if r.TeamID == "" || r.UserID == "" {
			return errNoEcho
		}
		got = identity{team: r.TeamID, enterprise: r.EnterpriseID, user: r.UserID, bot: r.BotID}
		return nil
	})
	if err != nil {
		return identity{}, err
	}
	app := c.ownApp(ctx, got)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = &got
	if c.appID == "" {
		c.appID = app
	}
	c.standing.Identified()
	return got, nil
}

// ownApp is the app whose bot self is, or "" if Slack does not tell: over HTTP
// nothing else says which app deliveries must name.
func (c *Chat) ownApp(ctx context.Context, self identity) string {
	c.mu.Lock()
	known := c.appID
	c.mu.Unlock()
	if known != "" {
		return known
	}
	u, err := c.account(ctx, self.user)
	if err != nil || u.Profile.AppID == "" {
		c.log.Warn("slack does not tell which app this is, so that only the signature or the connection says it", "err", err)
	}
	return string(u.Profile.AppID)
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
func (c *Chat) Identify(ctx context.Context, a tickets.Actor) (tickets.Identity, error) {
	if a.Platform != Platform || a.ID == "" {
		return tickets.Identity{}, fmt.Errorf("slack: %s is nobody of Slack", a)
	}
	profile, err := c.profiles.Get(ctx, a.ID, func(ctx context.Context) ([]string, error) { return c.profile(ctx, a.ID) })
	if err != nil {
		return tickets.Identity{}, fmt.Errorf("profile of %s: %w", a, err)
	}
	return tickets.Identity{Emails: profile[:1:1], Names: profile[1:]}, nil
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

// Ready says why Slack cannot be posted to or listened to, or nil.
func (c *Chat) Ready() error {
	why, over := c.standing.Problem()
	if over || c.cfg.AppToken == "" {
		return why
	}
	return errors.Join(why, c.socketProblem())
}

// RateNote says how fast Slack takes messages
// (docs.slack.dev/apis/web-api/rate-limits).
func (c *Chat) RateNote() string { return "Slack takes one message a second in each channel" }

// Run listens until ctx ends. What ends it for good before waits for tokens
// that change, if they may.
func (c *Chat) Run(ctx context.Context, h adapters.Handler) error {
	defer c.work.Wait()
	end, stop := context.WithCancel(ctx)
	defer stop()
	c.work.HurryAfter(end, c.cfg.Drain)
	for {
		with := c.secrets()
		err := c.serveUntilFatal(ctx, h)
		if err == nil || ctx.Err() != nil || !c.changes {
			return err
		}
		c.log.Error("slack is given up until its tokens change", "err", err)
		if !c.awaitChange(ctx, with) {
			return nil
		}
		select {
		case <-c.dead: // said of the tokens before
		default:
		}
		c.standing.Reset()
	}
}

func (c *Chat) serveUntilFatal(ctx context.Context, h adapters.Handler) error {
	if err := c.waitForIdentity(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	inner, stop := context.WithCancel(ctx)
	defer c.listening.Wait()
	defer stop()
	if c.cfg.AppToken != "" {
		c.listening.Go(func() {
			c.hear(inner, func(ctx context.Context, api *slack.Client, line *health.Connection) error {
				return c.serveSockets(ctx, api, line, h)
			})
		})
	}
	return c.standing.Watch(ctx, c.dead, func(ctx context.Context) {
		// The outcome is noted by call.
		_ = c.call(ctx, "auth.test", "", false, func() error { _, err := c.api().AuthTestContext(ctx); return err })
	})
}

// fail has Run end with err, or with what was said before.
func (c *Chat) fail(err error) {
	select {
	case c.dead <- err:
	default: // one reason is enough
	}
}

// waitForIdentity asks who we are until Slack tells. Before that nobody may act.
func (c *Chat) waitForIdentity(ctx context.Context) error {
	err := chatkit.Retry(ctx, func(ctx context.Context) error {
		_, err := c.identity(ctx)
		return err
	}, func(err error) { c.log.Warn("slack does not tell who we are, asking again", "err", err) })
	if err != nil {
		return c.standing.Stopped(err)
	}
	return nil
}
