package discord

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

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

// Platform is Discord's name in places, actors and principals.
const Platform tickets.Platform = "discord"

// DefaultAPIURL is where Discord's API is.
const DefaultAPIURL = "https://discord.com"

// Config says which Discord application this is, and whose server it serves.
type Config struct {
	BotToken      string // token of the application's bot; required
	ApplicationID string // id of the application; required
	Guild         string // id of the server whose members may act; required
	PublicKey     string // 64 hexadecimal digits with which Discord signs; needed for HTTP; default none
	HTTP          bool   // interactions come over signed HTTP instead of the gateway; default false
	APIURL        string // replaces scheme and host of every call, for tests; default DefaultAPIURL
	PublicURL     string // where Discord reaches the bot, without a slash at its end; only Check uses it; default unknown

	// Current is the token at present, asked whenever it is needed, for one
	// that changes while the chat works. Default BotToken.
	Current func() string

	Transport http.RoundTripper // makes the calls, for metrics; default http.DefaultTransport
	Timeout   time.Duration     // of one call; default 10 s
	Pace      Pace              // how fast Discord is called; default as in Pace
	Gateway   Gateway           // patience with the gateway; default as in Gateway
	Workers   int               // interactions worked on at once from the gateway; default 64
	// AnswerTime is how long Discord waits for an answer to what somebody did;
	// default [chatkit.AnswerTime]. Tests have slower machines.
	AnswerTime time.Duration
	Drain      time.Duration // what commands under way get when Run is told to end; default 6 s
	Peers      Peers         // the other processes that serve this application; default none, this process is alone
	NonceTrust time.Duration // how long Discord surely knows a nonce; default 1 min

	Refused func(signed.Reason) // is told of each signed request that is refused; default nothing

	Card func() wording.Card // what the settings say about cards, asked for each; default the zero Card
	Log  *slog.Logger        // default slog.Default()
	Now  func() time.Time    // dates what is remembered; default time.Now
}

// String keeps the token out of logs.
func (Config) String() string { return "[discord config]" }

// GoString keeps the token out of %#v.
func (Config) GoString() string { return "[discord config]" }

// LogValue keeps the token out of slog.
func (Config) LogValue() slog.Value { return slog.StringValue("[discord config]") }

// Chat is Discord as a chat of Countersign.
type Chat struct {
	cfg     Config
	within  chatkit.Deadlines // of answers
	changes bool              // of the token are possible
	key     ed25519.PublicKey // nil without HTTP
	api     *api
	log     *slog.Logger
	pace    *pacer

	roles   *ttl.Cache[[]string]                                                 // of members, by user id
	names   *ttl.Cache[[]string]                                                 // of members, by user id
	people  *ttl.Cache[somebody]                                                 // by user id
	seen    *dedup.Deliveries[response]                                          // interactions
	work    drain.Tracker                                                        // interactions being worked on
	gateway health.Connection                                                    // the gateway
	starts  starts                                                               // of its sessions
	dial    func(ctx context.Context, network, address string) (net.Conn, error) // to it; nil for the library's
	cards   *cards                                                               // that were looked for

	commands chan struct{} // a place for each that is being worked on
	standing health.Auth
	requests *signed.Requests // over HTTP

	mu   sync.Mutex
	self string // the bot's user id; "" until Discord has told
}

var (
	_ adapters.Chat          = (*Chat)(nil)
	_ adapters.Diagnoser     = (*Chat)(nil)
	_ adapters.HTTPEndpoints = (*Chat)(nil)
)

// keepSeen is how long an interaction is remembered: as long as its token
// lives (discord.com/developers/docs/interactions/receiving-and-responding).
const keepSeen = 15 * time.Minute

var snowflake = regexp.MustCompile(`^[0-9]{17,20}$`)

// IsID reports whether s has the shape of Discord's identifiers.
func IsID(s string) bool { return snowflake.MatchString(s) }

// New returns the chat for cfg. It calls nobody.
func New(cfg Config) (*Chat, error) {
	var wrong []error
	need := func(ok bool, say string) {
		if !ok {
			wrong = append(wrong, errors.New(say))
		}
	}
	need(cfg.BotToken != "", "the bot token is missing")
	need(!strings.HasPrefix(cfg.BotToken, "Bot "), `the bot token must stand without the word "Bot"`)
	need(IsID(cfg.ApplicationID), "the application id must be a number of 17 to 20 digits")
	need(IsID(cfg.Guild), "the server (guild) id must be a number of 17 to 20 digits")
	key, err := hex.DecodeString(cfg.PublicKey)
	need(err == nil && (len(key) == ed25519.PublicKeySize || len(key) == 0), "the public key must be 64 hexadecimal digits")
	need(!cfg.HTTP || len(key) > 0, "interactions over HTTP need the application's public key")
	if cfg.APIURL == "" {
		cfg.APIURL = DefaultAPIURL
	}
	base, err := neterr.BaseURL(cfg.APIURL)
	wrong = append(wrong, err)
	if err := errors.Join(wrong...); err != nil {
		return nil, fmt.Errorf("discord: %w", err)
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 64
	}
	if cfg.NonceTrust <= 0 {
		cfg.NonceTrust = time.Minute
	}
	if cfg.Drain <= 0 {
		cfg.Drain = 6 * time.Second
	}
	cfg.Gateway = cfg.Gateway.withDefaults()
	changes := cfg.Current != nil
	if !changes {
		cfg.Current = func() string { return cfg.BotToken }
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
	var limiter ratelimit.Limiter
	if cfg.Peers != nil {
		limiter = cfg.Peers
	}
	c := &Chat{
		within:  chatkit.NewDeadlines(cfg.AnswerTime),
		cfg:     cfg,
		changes: changes,
		log:     cfg.Log.With("platform", string(Platform)),
		pace:    newPacer(cfg.Pace, limiter),
		roles:   ttl.NewCache[[]string](chatkit.BelieveFor, cfg.Now),
		names:   ttl.NewCache[[]string](chatkit.BelieveFor, cfg.Now),
		people:  ttl.NewCache[somebody](chatkit.BelieveFor, cfg.Now),
		cards:   newCards(cfg.Now),
		seen:    dedup.NewDeliveries[response](keepSeen, cfg.Now),

		commands: make(chan struct{}, adapters.MaxCommands),
	}
	c.starts.every = cfg.Gateway.Start
	if len(key) > 0 {
		c.key = key
	}
	c.requests = signed.New(signed.Config{
		Stamp: stamp, Verify: c.verify,
		Advice: "compare the public key with the application's page General Information; a few are normal, since Discord sends wrong ones to see that they are refused",
		Within: cfg.AnswerTime, Refused: cfg.Refused, Now: cfg.Now, Log: c.log,
	})
	if c.api, err = newAPI(cfg, base); err != nil {
		return nil, fmt.Errorf("discord: %w", err)
	}
	return c, nil
}

// String keeps what c holds out of logs.
func (c *Chat) String() string { return string(Platform) }

// GoString keeps what c holds out of %#v.
func (c *Chat) GoString() string { return string(Platform) }

// Platform is [Platform].
func (c *Chat) Platform() tickets.Platform { return Platform }

// RateNote says how fast Discord takes messages. It announces its limits with
// each answer; this one is common experience.
func (c *Chat) RateNote() string {
	return "Discord takes about five messages in five seconds in each channel"
}

// Post shows t in place. Within minutes Discord itself knows a message that
// was sent before by its nonce; later it is looked for by its buttons, which
// name the ticket.
func (c *Chat) Post(ctx context.Context, place tickets.Place, t *tickets.Ticket, since time.Time) (string, error) {
	var shown card
	if c.mustLook(since) {
		var err error
		if shown, err = c.findCard(ctx, place.Channel, t.Number, since); err != nil {
			return "", err
		}
	}
	if shown.id == "" {
		made, err := c.create(ctx, place.Channel, nonce(t, place, 0), c.card(t))
		if err != nil {
			return "", err
		}
		shown = made.card()
	}
	if since.IsZero() || shown.rev == t.Rev {
		return shown.id, nil
	}
	// A message of an earlier attempt: make it show what the caller will
	// record.
	if err := c.Edit(ctx, tickets.Message{Place: place, ID: shown.id}, t); err != nil {
		return "", err
	}
	return shown.id, nil
}

// mustLook reports whether an attempt made at since may have left a message
// that its nonce no longer finds.
func (c *Chat) mustLook(since time.Time) bool {
	return !since.IsZero() && c.cfg.Now().Sub(since) >= c.cfg.NonceTrust
}

// nonce names one owed message: the card of t in place, or the reply about
// the event with that number. It has at most 25 characters
// (discord.com/developers/docs/resources/message#create-message).
func nonce(t *tickets.Ticket, place tickets.Place, event int) string {
	of := []string{string(t.Number), string(t.ID), strconv.FormatInt(t.Created.UnixNano(), 10), place.String(), strconv.Itoa(event)}
	if m := t.Message(place); m != nil && m.Reposted {
		of = append(of, "again") // by the first one's nonce, Discord would answer with that
	}
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:18]) // 24 characters
}

// createMessage is a new message.
type createMessage struct {
	message
	Nonce        string `json:"nonce"`
	EnforceNonce bool   `json:"enforce_nonce"`
}

// create sends a message, and returns the one that Discord has: the message
// exists, whatever else the answer holds. What is no identifier is not kept: it
// may be anything, our own token that comes back included.
func (c *Chat) create(ctx context.Context, channel, nonce string, m message) (foundMessage, error) {
	for {
		var made foundMessage
		err := c.call(ctx, request{
			method: http.MethodPost, route: routeMessages, path: "/channels/" + channel + "/messages", channel: channel, effect: true,
			body: createMessage{m, nonce, true},
		}, &made)
		if err == nil && !IsID(string(made.ID)) {
			return made, &tickets.Failure{Class: tickets.Ambiguous, Err: fmt.Errorf("discord %s: %w", routeMessages, errNoEcho)}
		}
		if err != nil && m.simple != nil && codeOf(err) == codeInvalid {
			c.log.Error("discord refuses a message, sending a plain one", "channel", channel, "err", err)
			m = *m.simple
			continue
		}
		return made, err
	}
}

// Edit makes m show t.
func (c *Chat) Edit(ctx context.Context, m tickets.Message, t *tickets.Ticket) error {
	show := c.card(t)
	for {
		var edited struct {
			ID jsonx.LooseString `json:"id"`
		}
		err := c.call(ctx, request{
			method: http.MethodPatch, route: routeMessage, path: "/channels/" + m.Place.Channel + "/messages/" + m.ID, channel: m.Place.Channel,
			effect: true, old: c.isOld(m.ID), body: show,
		}, &edited)
		if err == nil && string(edited.ID) != m.ID {
			return &tickets.Failure{Class: tickets.Ambiguous, Err: fmt.Errorf("discord %s: %w", routeMessage, errNoEcho)}
		}
		if err != nil && show.simple != nil && codeOf(err) == codeInvalid {
			c.log.Error("discord refuses an edit, sending a plain one", "ticket", string(t.Number), "channel", m.Place.Channel, "err", err)
			show = *show.simple
			continue
		}
		return err
	}
}

// Present reads m. Who may not read the history is told so, unlike in a list of
// messages, which would be empty.
func (c *Chat) Present(ctx context.Context, m tickets.Message) (bool, error) {
	self, err := c.identity(ctx)
	if err != nil {
		return false, err
	}
	var found foundMessage
	err = c.call(ctx, request{
		method: http.MethodGet, route: routeMessage, path: "/channels/" + m.Place.Channel + "/messages/" + m.ID, channel: m.Place.Channel,
	}, &found)
	switch {
	case codeOf(err) == codeUnknownMessage:
		return false, nil
	case err != nil:
		return false, err
	case string(found.ID) != m.ID:
		return false, &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord %s: %w", routeMessage, errNoEcho)}
	}
	return string(found.Author.ID) == self, nil
}

// Reply tells an event of t in the thread that is started from m. A thread
// has the identifier of the message that it was started from.
func (c *Chat) Reply(ctx context.Context, m tickets.Message, t *tickets.Ticket, event int, since time.Time) error {
	if c.mustLook(since) {
		id, err := c.find(ctx, m.ID, since, func(m *foundMessage) bool { return m.isReply(event) })
		if codeOf(err) == codeUnknownChannel {
			err = nil // no thread, so nothing in it
		}
		if err != nil || id != "" {
			return aside(err)
		}
	}
	send := func() error {
		_, err := c.create(ctx, m.ID, nonce(t, m.Place, event+1), c.reply(t, event))
		return err
	}
	err := send()
	if codeOf(err) != codeUnknownChannel {
		return aside(err)
	}
	err = c.call(ctx, request{
		method: http.MethodPost, route: routeThreads, path: "/channels/" + m.Place.Channel + "/messages/" + m.ID + "/threads", channel: m.Place.Channel, effect: true,
		body: map[string]any{"name": threadName(t), "auto_archive_duration": threadRests},
	}, nil)
	if err != nil && codeOf(err) != codeThreadExists {
		return aside(err)
	}
	return aside(send())
}

// threadRests is after how many minutes of silence Discord folds a thread
// away: a day. Sending opens it again.
const threadRests = 1440

// aside says what a failure in a thread or a direct message means. It speaks
// of no place: what an admin has forbidden there is let be, since the card
// tells all the same, and who is gone cannot be written to.
func aside(err error) error {
	var f *tickets.Failure
	if !errors.As(err, &f) {
		return err
	}
	switch f.Class {
	case tickets.NotFound, tickets.Rejected:
		return &tickets.Failure{Class: tickets.Rejected, Err: f.Err}
	}
	return err
}

// epoch is the first moment of Discord's identifiers, in ms since 1970
// (discord.com/developers/docs/reference#snowflakes).
const epoch = 1420070400000

// sentAt is when the thing with that identifier was made.
func sentAt(id string) (time.Time, bool) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(n>>22) + epoch), true
}

// idAt is the smallest identifier of a moment.
func idAt(t time.Time) string {
	return strconv.FormatInt(max(t.UnixMilli()-epoch, 0)<<22, 10)
}

// oldAfter is when edits of a message become dearer; see pace.go. A minute
// early, because clocks differ.
const oldAfter = 59 * time.Minute

func (c *Chat) isOld(id string) bool {
	at, ok := sentAt(id)
	return ok && c.cfg.Now().Sub(at) >= oldAfter
}

// foundMessage is a message as far as looking for our own needs it.
type foundMessage struct {
	ID     jsonx.LooseString `json:"id"`
	Author struct {
		ID jsonx.LooseString `json:"id"`
	} `json:"author"`
	Components json.RawMessage `json:"components"`
}

// card is what m shows as a card; its rev is -1 if m does not tell, as in its
// plain form.
func (m *foundMessage) card() card {
	shown := card{string(m.ID), -1}
	eachComponent(m.Components, func(c *component) {
		if c.Type == typeContainer && c.ID >= firstMark {
			shown.rev = c.ID - firstMark
		}
	})
	return shown
}

// isReply reports whether m is the reply about that event.
func (m *foundMessage) isReply(event int) bool {
	found := false
	eachComponent(m.Components, func(c *component) { found = found || (c.Type == typeText && c.ID == mark(event)) })
	return found
}

// How a message is looked for.
const (
	// lookMargin is how far before the first attempt it is looked for: our
	// clock and Discord's may differ.
	lookMargin = 15 * time.Minute
	lookPage   = 100 // messages, Discord's maximum
	lookPages  = 20
)

// findCard looks for the card of n that was sent at or after since. Each
// message of a channel is read once for all who look: after an outage many
// cards are looked for in a channel that has many messages.
func (c *Chat) findCard(ctx context.Context, channel string, n tickets.Number, since time.Time) (card, error) {
	return c.cards.find(channel, n, since, func(after string, found func(*foundMessage)) (string, error) {
		after, all, err := c.look(ctx, channel, after, func(m *foundMessage) bool { found(m); return false })
		if err == nil && !all {
			err = &tickets.Failure{Class: tickets.RateLimited, RetryAfter: time.Second, Err: errors.New("discord: still looking for an earlier message")}
		}
		return after, err
	})
}

// find looks for a message of ours that was sent at or after since, and is
// what is asked for. It returns "" if there is none.
func (c *Chat) find(ctx context.Context, channel string, since time.Time, is func(*foundMessage) bool) (id string, err error) {
	_, all, err := c.look(ctx, channel, idAt(since.Add(-lookMargin)), func(m *foundMessage) bool {
		if is(m) {
			id = string(m.ID)
		}
		return id != ""
	})
	if !all {
		c.log.Warn("too many messages to look for an earlier one, sending another", "channel", channel)
	}
	return id, err
}

// look goes through our own messages that are newer than after until enough
// says so, and returns how far it came and whether that was all. Where looking is not allowed there is
// nothing to be seen: a second message is the smaller harm then, since the
// buttons of both work.
func (c *Chat) look(ctx context.Context, channel, after string, enough func(*foundMessage) bool) (far string, all bool, err error) {
	self, err := c.identity(ctx)
	if err != nil {
		return after, true, err
	}
	for range lookPages {
		var page []foundMessage
		err := c.call(ctx, request{
			method: http.MethodGet, route: routeMessages, channel: channel,
			path: "/channels/" + channel + "/messages?" + url.Values{"after": {after}, "limit": {strconv.Itoa(lookPage)}}.Encode(),
		}, &page)
		if err != nil {
			if f := tickets.FailureOf(err); f.Class == tickets.Rejected {
				c.log.Warn("cannot look for an earlier message, sending another", "channel", channel, "err", err)
				return after, true, nil
			}
			return after, true, err
		}
		stop := false
		for i := range page {
			m := &page[i]
			if string(m.Author.ID) == self && enough(m) {
				stop = true
			}
			if newer(string(m.ID), after) {
				after = string(m.ID)
			}
		}
		if stop || len(page) < lookPage {
			return after, true, nil
		}
	}
	return after, false, nil
}

// card is a card in a channel, and the revision that it shows.
type card struct {
	id  string
	rev int
}

// cards knows the cards in the channels in which some were looked for.
type cards struct{ channels *ttl.Map[string, *cardsIn] }

func newCards(now func() time.Time) *cards {
	return &cards{ttl.NewMap[string, *cardsIn](keepCards, now)}
}

// cardsIn is what was read of one channel.
type cardsIn struct {
	mu    sync.Mutex // held while it is read, so that it is read once
	from  time.Time  // since when messages were read
	after string     // the newest that was read
	cards map[tickets.Number]card
}

// keepCards is how long what was read is built on: then it begins anew, so
// that it does not grow for ever.
const keepCards = time.Hour

// find returns the card of n sent at or after since, or nothing. read reads
// on from a message and returns how far it came, also beside an error.
func (c *cards) find(channel string, n tickets.Number, since time.Time, read func(after string, found func(*foundMessage)) (string, error)) (card, error) {
	in := c.channels.PutNew(channel, &cardsIn{})
	in.mu.Lock()
	defer in.mu.Unlock()
	from := since.Add(-lookMargin)
	if in.cards == nil || from.Before(in.from) {
		in.from, in.after, in.cards = from, idAt(from), map[tickets.Number]card{}
	}
	after, err := read(in.after, func(m *foundMessage) {
		eachComponent(m.Components, func(c *component) {
			if _, _, of, ok := parseCustomID(string(c.CustomID)); ok {
				if _, known := in.cards[of]; !known {
					in.cards[of] = m.card()
				}
			}
		})
	})
	in.after = after
	if m, ok := in.cards[n]; ok {
		return m, nil
	}
	return card{}, err
}

// newer compares two identifiers.
func newer(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}

// call makes a call within the pace, and notes whether Discord accepts our
// token.
func (c *Chat) call(ctx context.Context, r request, to any) error {
	with := c.cfg.Current()
	err := c.api.call(ctx, c.pace, r, to)
	switch f := (*tickets.Failure)(nil); {
	case err == nil:
		c.standing.Accepted()
	case errors.As(err, &f) && f.Class == tickets.Unauthorized && c.cfg.Current() != with:
		return c.call(ctx, r, to) // it was replaced meanwhile
	case errors.As(err, &f) && f.Class == tickets.Unauthorized:
		c.standing.Rejected(f.Err)
	}
	return err
}

// identity is the bot's user id, asked once.
func (c *Chat) identity(ctx context.Context) (string, error) {
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self != "" {
		return self, nil
	}
	var me struct {
		ID jsonx.LooseString `json:"id"`
	}
	err := c.call(ctx, request{method: http.MethodGet, route: "/users/@me", path: "/users/@me"}, &me)
	if err != nil {
		return "", err
	}
	if !IsID(string(me.ID)) {
		return "", &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord /users/@me: %w", errNoEcho)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = string(me.ID)
	c.standing.Identified()
	return c.self, nil
}

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
func (c *Chat) Identify(ctx context.Context, a tickets.Actor) (tickets.Identity, error) {
	if a.Platform != Platform || a.ID == "" {
		return tickets.Identity{}, fmt.Errorf("discord: %s is nobody of Discord", a)
	}
	names, err := c.names.Get(ctx, a.ID, func(ctx context.Context) ([]string, error) { return c.memberNames(ctx, a.ID) })
	if err != nil {
		return tickets.Identity{}, fmt.Errorf("names of %s: %w", a, err)
	}
	return tickets.Identity{Names: names}, nil
}

func (c *Chat) memberNames(ctx context.Context, user string) ([]string, error) {
	var m member
	err := c.call(ctx, request{method: http.MethodGet, route: routeMember, path: "/guilds/" + c.cfg.Guild + "/members/" + url.PathEscape(user)}, &m)
	if err == nil && string(m.User.ID) != user {
		err = &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord %s: %w", routeMember, errNoEcho)}
	}
	return m.names(), err
}

// DirectMessage writes text to p as a direct message. Discord does not tell a bot who
// has a role, so only users can be told.
func (c *Chat) DirectMessage(ctx context.Context, p tickets.Principal, text string) error {
	if p.Platform != Platform || p.Kind != tickets.User {
		return &tickets.Failure{Class: tickets.Rejected, Err: fmt.Errorf("discord: %s cannot be written to: only a user can", p)}
	}
	var channel struct {
		ID jsonx.LooseString `json:"id"`
	}
	err := c.call(ctx, request{
		method: http.MethodPost, route: "/users/@me/channels", path: "/users/@me/channels", body: map[string]string{"recipient_id": p.ID},
	}, &channel)
	if err == nil && !IsID(string(channel.ID)) {
		err = &tickets.Failure{Class: tickets.Unavailable, Err: fmt.Errorf("discord /users/@me/channels: %w", errNoEcho)}
	}
	if err != nil {
		return aside(err)
	}
	sum := sha256.Sum256([]byte(p.ID + "\x00" + text + "\x00" + c.cfg.Now().Truncate(time.Minute).String()))
	_, err = c.create(ctx, string(channel.ID), base64.RawURLEncoding.EncodeToString(sum[:18]), note(text))
	return aside(err)
}

// Ready says why Discord cannot be posted to or listened to, or nil.
func (c *Chat) Ready() error {
	why, over := c.standing.Problem()
	if over || c.cfg.HTTP {
		return why
	}
	return errors.Join(why, c.gateway.Problem("discord's gateway", c.cfg.Now(), c.cfg.Gateway.Gap))
}

// Run listens until ctx ends. What ends it for good before waits for a token
// that changes, if it may.
func (c *Chat) Run(ctx context.Context, h adapters.Handler) error {
	defer c.work.Wait()
	end, stop := context.WithCancel(ctx)
	defer stop()
	c.work.HurryAfter(end, c.cfg.Drain)
	for {
		with := c.cfg.Current()
		err := c.serveUntilFatal(ctx, h)
		if err == nil || ctx.Err() != nil || !c.changes {
			return err
		}
		c.log.Error("discord is given up until its token changes", "err", err)
		for c.cfg.Current() == with {
			if !chatkit.Sleep(ctx, renewEvery) {
				return nil
			}
		}
		c.standing.Reset()
	}
}

// renewEvery is how often it is looked whether the token has changed, once
// Discord was given up.
const renewEvery = time.Second

// Try asks Discord whether it takes token, which is not in use yet, and
// whether it is of our application. Its errors are [tickets.Failure], but for
// the token of another application.
func (c *Chat) Try(ctx context.Context, token string) error {
	cfg := c.cfg
	cfg.Current = func() string { return token }
	api, err := newAPI(cfg, c.api.host)
	if err != nil {
		return err
	}
	var app struct {
		ID jsonx.LooseString `json:"id"`
	}
	if err := api.call(ctx, nil, request{method: http.MethodGet, route: "/applications/@me", path: "/applications/@me"}, &app); err != nil {
		return err
	}
	if string(app.ID) != c.cfg.ApplicationID {
		return errors.New("discord: it is the token of another application")
	}
	return nil
}

func (c *Chat) serveUntilFatal(ctx context.Context, h adapters.Handler) error {
	if err := c.waitForIdentity(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	inner, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { c.register(inner) })
	over := make(chan error, 1)
	if !c.cfg.HTTP {
		running.Go(func() { over <- c.listen(inner, h) })
	}
	return c.standing.Watch(ctx, over, func(ctx context.Context) {
		// The outcome is noted by call.
		_ = c.call(ctx, request{method: http.MethodGet, route: "/users/@me", path: "/users/@me"}, &struct{}{})
	})
}

// waitForIdentity asks who we are until Discord tells. A token that Discord does
// not accept is fatal: asking on would have the address banned
// (discord.com/developers/docs/topics/rate-limits, "invalid request limit").
func (c *Chat) waitForIdentity(ctx context.Context) error {
	err := chatkit.Retry(ctx, func(ctx context.Context) error {
		_, err := c.identity(ctx)
		return err
	}, func(err error) { c.log.Warn("discord does not tell who we are, asking again", "err", err) })
	if err != nil {
		return c.standing.Stopped(err)
	}
	return nil
}
