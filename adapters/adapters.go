// Package adapters is the contract between the bot and the chats it speaks
// in. A child package per platform keeps it; the suite in adaptertest says
// what keeping it means.
//
// An adapter gets domain values and says them in its platform's protocol. It
// owns everything that is particular to the platform: identifiers, limits,
// pace, signatures, escaping, and which failure of its library means what.
// It owns no rule about tickets: who may decide and what is valid is asked of
// the [Handler], whose answers are values.
//
// The texts that people read are the same on every platform and live in
// package wording.
package adapters

import (
	"context"
	"net/http"
	"time"

	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

// MetadataEvent is the event type of the metadata that marks our messages,
// on platforms that have metadata.
const MetadataEvent = "countersign_ticket"

// Chat is one platform. Its methods are safe for concurrent use and return,
// when a call to the platform failed, a [tickets.Failure].
//
// Methods wait for the platform's pace within ctx. If the wait would outlast
// ctx's deadline they return at once with class RateLimited.
type Chat interface {
	// Platform is the platform's name in places, actors and principals.
	Platform() tickets.Platform

	// Post shows t in place and returns the new message's identifier. If
	// since is not zero, an attempt made at or after since may have
	// succeeded unnoticed: Post then looks for that message first, and
	// adopts it. Class Ambiguous means that the message may exist.
	Post(ctx context.Context, place tickets.Place, t *tickets.Ticket, since time.Time) (id string, err error)

	// Edit makes message m show t. It may be repeated. Class NotFound means
	// that the message can never be edited again.
	Edit(ctx context.Context, m tickets.Message, t *tickets.Ticket) error

	// Present reports whether message m is still there and the chat's own, so
	// that it can be edited. An error means that it could not be found out.
	// Nothing that people see is changed.
	Present(ctx context.Context, m tickets.Message) (bool, error)

	// Reply tells event number event of t in the thread of m, looking first
	// if since is not zero, as for Post.
	Reply(ctx context.Context, m tickets.Message, t *tickets.Ticket, event int, since time.Time) error

	// HasRole reports whether a is the principal p, or belongs to it; nobody
	// belongs to what is gone, as a group that was deleted. An error means that
	// it could not be found out: nobody is let in then.
	HasRole(ctx context.Context, p tickets.Principal, a tickets.Actor) (bool, error)

	// Sees reports whether a, who acts in the place in, sees what is posted in
	// place, by what the platform told of its members at most a minute ago. An
	// error means that it could not be found out: nobody reads then.
	Sees(ctx context.Context, a tickets.Actor, in, place tickets.Place) (bool, error)

	// Resolve returns what the platform knows at the moment of each of who, in
	// their order. It asks for several at once, and what it may ask for only
	// seldom once for all.
	Resolve(ctx context.Context, who []tickets.Principal) []Reach

	// Identify returns what the platform knows of a, at most a minute old: the
	// addresses that it vouches for, and names. An error means that it could
	// not be found out, in whole: a decides nothing then that could be their
	// own request.
	Identify(ctx context.Context, a tickets.Actor) (selfcheck.Identity, error)

	// DirectMessage writes text to p alone, as a direct message: for what admins must
	// know and nobody asked for. It is plain text and may be lost or come
	// twice. Class Rejected means that p cannot be written to.
	DirectMessage(ctx context.Context, p tickets.Principal, text string) error

	// RateNote says in a sentence for people how fast the platform takes new
	// messages.
	RateNote() string

	// Warnings are sentences for admins, without a full stop, about what does
	// not keep the chat from working and has to be put right all the same.
	// They are answered from what is known, at once.
	Warnings() []string

	// Run receives what people do until ctx ends, then waits for what has
	// begun. Started interactions have until their platform's own deadline,
	// and commands that are answered later a few seconds.
	// It returns nil when ctx ended; any other error is fatal for the chat
	// alone.
	Run(ctx context.Context, h Handler) error

	// Ready is nil if the chat can be posted to and listened to, else the
	// reason, for the operator. It answers from what is known, at once.
	Ready() error
}

// Diagnoser finds out what keeps a chat from working.
type Diagnoser interface {
	// Diagnose looks at everything that the chat needs: its credentials and
	// permissions, each of places, each of who, and the way in for what
	// people do. It changes nothing that people see. It needs no Run.
	Diagnose(ctx context.Context, places []tickets.Place, who []tickets.Principal) []Finding

	// Probe calls the bot at base, its public address, as the platform does over
	// HTTP, with what nobody could mistake for a person's doing. It finds nothing
	// if the platform does not call the bot.
	Probe(ctx context.Context, base string) []Finding
}

// HTTPEndpoints receives what people do over HTTP.
type HTTPEndpoints interface {
	// Endpoints are the signed HTTP paths that the platform calls, each with
	// its handler. It is empty if the platform is not configured for them.
	Endpoints(h Handler) map[string]http.Handler
}

// Finding is one thing that was checked. Neither text holds a secret.
type Finding struct {
	What    string // what was looked at, for example "the bot may post in #epm-requests"
	Problem string // what is wrong; empty if nothing is
	Fix     string // what to do about it; empty if nothing is wrong
}

// CommandTime is what a [Handler] has for a command. Platforms want a first
// answer within 3 s: the adapter gives one, and the Handler's later.
const CommandTime = time.Minute

// MaxCommands is how many commands and forms of settings a chat has the Handler
// work on at once. They may take their time, so that they hold no place that
// clicks need; what is more is refused.
const MaxCommands = 256

// Handler is what the bot does when somebody acts in a chat. The adapter has
// verified the signature, and that the actor is of our own workspace. ctx
// ends when it is too late to answer: for a Click or a Submit about 2 s after
// it was received, for a Home some seconds, for a Command or a Configure after
// [CommandTime], or some seconds after the chat was told to stop.
type Handler interface {
	Click(ctx context.Context, c Click) Answer
	Submit(ctx context.Context, s Submission) Answer
	// Command answers what was typed. If that takes longer than about 2 s
	// the person reads that it takes a moment until then.
	Command(ctx context.Context, c Command) Answer
	// SubmitSettings takes the form of [Settings], likewise.
	SubmitSettings(ctx context.Context, c Configuration) Answer
	// Autocomplete suggests what somebody who is typing may mean. Whoever may not
	// use the word learns nothing: there are no suggestions then, as if nothing
	// can be found out in time. ctx ends after about 2 s.
	Autocomplete(ctx context.Context, c Completion) Suggestions
	// Home is what a sees on the page that a chat may have for each person, as
	// things are when they open it or have decided there: a Home, or a Note in
	// its place.
	Home(ctx context.Context, a tickets.Actor) Answer
}

// Action is what a click asks for. The values are the buttons' identifiers
// and are fixed.
type Action string

// The actions.
const (
	ActionApprove Action = "approve"
	ActionDeny    Action = "deny"
	ActionDetails Action = "details"
	// ActionState is the card's menu: it moves the ticket to the chosen state.
	ActionState Action = "state"
	// ActionForm is a change inside an open form that may change its fields,
	// such as another unit.
	ActionForm Action = "form"
	// ActionNewer and ActionOlder are on the buttons of [Page]; they come as
	// a Command.
	ActionNewer Action = "newer"
	ActionOlder Action = "older"
)

// A Delivery names what a person did once: it is the same however often, and to
// whichever replica, the platform or whoever has recorded it delivers that, and
// no other has it. What changes anything counts once for each. Empty is what
// nobody can deliver again.
type Delivery string

// Click is a pressed button, or a state chosen from the menu.
type Click struct {
	Delivery Delivery
	Actor    tickets.Actor
	Place    tickets.Place
	Number   tickets.Number
	// Digest is of the request as what was clicked on shows it; empty if that
	// does not say, as no message of this version does.
	Digest tickets.RequestDigest
	// Private says that what was clicked on was shown to the actor alone: a
	// form, a home tab, the answer to something else.
	Private bool
	Action  Action
	Verdict tickets.Verdict // ActionForm: the form's
	Form    tickets.Form    // ActionForm: what is typed so far
	State   tickets.State   // ActionState: as it arrived; there may be no such state
}

// Submission is a form as somebody sent it.
type Submission struct {
	Delivery Delivery
	Actor    tickets.Actor
	Place    tickets.Place // where the form was opened; may be empty
	Number   tickets.Number
	Digest   tickets.RequestDigest // of the request as the form shows it
	Verdict  tickets.Verdict
	Form     tickets.Form
}

// Command is a slash command: the words after /epm.
type Command struct {
	Delivery Delivery
	Actor    tickets.Actor
	Place    tickets.Place
	Text     string
	// FromPager says that a button of [Page] carried Text. It comes from outside
	// like any other.
	FromPager bool
}

// Configuration is the form of [Settings] as somebody sent it.
type Configuration struct {
	Delivery Delivery
	Actor    tickets.Actor
	Place    tickets.Place     // where the form was opened; may be empty
	Version  int64             // of the settings that the form showed
	Values   map[string]string // by key, those of which the form had a field
}

// Completion is an argument of a word that somebody is typing.
type Completion struct {
	Actor tickets.Actor
	Place tickets.Place
	Word  string            // the Name of a [CommandSpec]
	Arg   string            // that is being typed
	Typed string            // of it so far
	Given map[string]string // the other arguments, by name
}

// MaxSuggestions is how many suggestions are shown, and MaxSuggestion how long
// the text and the value of one may be, in characters: Discord's limits
// (discord.com/developers/docs/interactions/application-commands#autocomplete).
const (
	MaxSuggestions = 25
	MaxSuggestion  = 100
)

// Suggestions are values of an argument, the likeliest first.
type Suggestions []Suggestion

// Suggestion is a value of an argument.
type Suggestion struct {
	Text  string // what people choose by
	Value string
}

// Answer is what the bot wants said to the person who acted, and to nobody
// else. It is one of Form, Details, Settings, Home, Note, Pages, Suggestions and
// Done.
type Answer interface{ answer() }

// Form asks for a decision: it opens the form, or shows it again with
// problems. The amount field is in it only if the unit needs one, where the
// platform can change an open form. It carries the digest of the Ticket's
// request. If that is not the one of the form that was sent, what the form
// shows of the request is not true any more: it is shown anew then.
type Form struct {
	Ticket   *tickets.Ticket
	Verdict  tickets.Verdict
	Values   tickets.Form
	Problems tickets.Problems
}

// Details shows everything EPM sent.
type Details struct{ Ticket *tickets.Ticket }

// Settings is the form of the settings, or Text where the platform has none or
// opens it no more.
type Settings struct {
	Text    string
	Version int64 // of the settings that are shown; comes back with the form
	Fields  []Setting
	Problem string // of all of them together
}

// Setting is a field of the form of [Settings].
type Setting struct {
	Key, Label, Help string

	Options []string // the values that there are; nil for any text on one line
	Many    bool     // several of Options may be chosen
	Value   string   // a comma list if Many
	Problem string   // what is wrong with Value, a sentence; empty if nothing is
}

// Home is somebody's own page: what waits for them and, for admins, how
// Countersign is.
type Home struct {
	Intro  string    // above the queue, or in its place
	Queue  []Waiting // what waits for their decision, oldest first, at most [MaxQueue]
	More   int       // requests that wait behind the Queue, if nobody can decide them at present too
	Health string    // lines; empty for whoever is no admin
}

// Waiting is a ticket in somebody's queue.
type Waiting struct {
	Ticket *tickets.Ticket
	Own    string // why it is not for them to decide, as their own request; empty if it is
}

// MaxQueue is how many requests a [Home] shows. Slack takes 100 blocks, of which
// one request needs three (docs.slack.dev/reference/views).
const MaxQueue = 25

// Note is a sentence or a few lines, plain text. Adapters escape it.
type Note struct {
	Text string
	// Retryable says of the answer to a form that nothing was done and that the
	// same may be sent once more: what was typed is kept.
	Retryable bool
	// Picture is shown below Text, where the platform can show one to one
	// person alone; Text says all that it does. nil for none.
	Picture *Picture
}

// MaxNote is how long the text of a [Note] may be to be shown whole on every
// platform, in characters: escaping makes it longer.
const MaxNote = 2800

// Picture is a picture, and what it shows in words of [MaxAlt] characters at
// most, for whoever cannot see it.
type Picture struct {
	PNG []byte
	Alt string
}

// MaxAlt is what Discord takes to describe a picture
// (discord.com/developers/docs/components/reference#media-gallery).
const MaxAlt = 1024

// Page is a Note of which there is more. Newer and Older are the commands, as
// typed after /epm, that show what stands before and after it; empty for
// none. Buttons carry them, and what they show replaces the Note. A command of
// more than [MaxPagerCommand] characters gets no button.
type Page struct{ Text, Newer, Older string }

// MaxPagerCommand is how long a command of [Page] may be, in characters: Discord
// takes 100 for a button, with its name.
const MaxPagerCommand = 90

// Done needs no words: the card will tell.
type Done struct{}

func (Form) answer()        {}
func (Details) answer()     {}
func (Settings) answer()    {}
func (Home) answer()        {}
func (Suggestions) answer() {}
func (Note) answer()        {}
func (Page) answer()        {}
func (Done) answer()        {}
