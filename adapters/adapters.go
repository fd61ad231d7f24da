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
// The words that people read are the same on every platform and live here,
// in words.go.
package adapters

import (
	"context"
	"net/http"
	"time"

	"github.com/countersign/countersign/tickets"
)

// MetadataEvent is the event type of the metadata that marks our messages,
// on platforms that have metadata.
const MetadataEvent = "countersign_ticket"

// Chat is one platform. Its methods are safe for concurrent use and return,
// when a call to the platform failed, a [tickets.Failure].
//
// Methods wait for the platform's pace within ctx. If the wait would outlast
// ctx's deadline they return at once with class Limited.
type Chat interface {
	// Platform is the platform's name in places, actors and principals.
	Platform() tickets.Platform

	// Post shows t in place and returns the new message's identifier. If
	// since is not zero, an attempt made at or after since may have
	// succeeded unnoticed: Post then looks for that message first, and
	// adopts it. Class Unclear means that the message may exist.
	Post(ctx context.Context, place tickets.Place, t *tickets.Ticket, since time.Time) (id string, err error)

	// Edit makes message m show t. It may be repeated. Class Gone means
	// that the message can never be edited again.
	Edit(ctx context.Context, m tickets.Message, t *tickets.Ticket) error

	// Reply tells event number event of t in the thread of m, looking first
	// if since is not zero, as for Post.
	Reply(ctx context.Context, m tickets.Message, t *tickets.Ticket, event int, since time.Time) error

	// Holds reports whether a is the principal p, or belongs to it. An error
	// means that it could not be found out: nobody is let in then.
	Holds(ctx context.Context, p tickets.Principal, a tickets.Actor) (bool, error)

	// Reach returns what the platform knows at the moment of each of who, in
	// their order. It asks for several at once, and what it may ask for only
	// seldom once for all.
	Reach(ctx context.Context, who []tickets.Principal) []Reach

	// Identify returns what the platform knows of a, at most a minute old: the
	// addresses that it vouches for, and names. An error means that it could
	// not be found out, in whole: a decides nothing then that could be their
	// own request.
	Identify(ctx context.Context, a tickets.Actor) (tickets.Identity, error)

	// Tell writes text to p alone, as a direct message: for what admins must
	// know and nobody asked for. It is plain text and may be lost or come
	// twice. Class Refused means that p cannot be written to.
	Tell(ctx context.Context, p tickets.Principal, text string) error

	// Check looks at everything that the chat needs: its credentials and
	// permissions, each of places, each of who, and the way in for what
	// people do. It changes nothing that people see. It needs no Run.
	Check(ctx context.Context, places []tickets.Place, who []tickets.Principal) []Finding

	// Endpoints are the signed HTTP paths that the platform calls, each with
	// its handler. It is empty if the platform is not configured for them.
	Endpoints(h Handler) map[string]http.Handler

	// Limits says in a sentence for people how fast the platform takes new
	// messages.
	Limits() string

	// Run receives what people do until ctx ends, then waits for what has
	// begun. Started interactions have until their platform's own deadline.
	// It returns nil when ctx ended; any other error is fatal for the chat
	// alone.
	Run(ctx context.Context, h Handler) error

	// Ready is nil if the chat can be posted to and listened to, else the
	// reason, for the operator. It answers from what is known, at once.
	Ready() error
}

// Finding is one thing that was checked. Neither text holds a secret.
type Finding struct {
	What    string // what was looked at, for example "the bot may post in #epm-requests"
	Problem string // what is wrong; empty if nothing is
	Fix     string // what to do about it; empty if nothing is wrong
}

// Handler is what the bot does when somebody acts in a chat. The adapter has
// verified the signature, and that the actor is of our own workspace. ctx
// ends when it is too late to answer.
type Handler interface {
	Click(ctx context.Context, c Click) Answer
	Submit(ctx context.Context, s Submission) Answer
	Command(ctx context.Context, c Command) Answer
}

// Action is what a click asks for. The values are the buttons' identifiers
// and are fixed.
type Action string

// The actions.
const (
	ActionApprove Action = "approve"
	ActionDeny    Action = "deny"
	ActionDetails Action = "details"
	// ActionForm is a change inside an open form that may change its fields,
	// such as another unit.
	ActionForm Action = "form"
)

// Click is a pressed button.
type Click struct {
	Actor   tickets.Actor
	Place   tickets.Place
	Number  tickets.Number
	Action  Action
	Verdict tickets.Verdict // ActionForm: the form's
	Form    tickets.Form    // ActionForm: what is typed so far
}

// Submission is a form as somebody sent it.
type Submission struct {
	Actor   tickets.Actor
	Place   tickets.Place // where the form was opened; may be empty
	Number  tickets.Number
	Verdict tickets.Verdict
	Form    tickets.Form
}

// Command is a slash command: the words after /epm.
type Command struct {
	Actor tickets.Actor
	Place tickets.Place
	Text  string
}

// Answer is what the bot wants said to the person who acted, and to nobody
// else. It is one of Form, Details, Note and Done.
type Answer interface{ answer() }

// Form asks for a decision: it opens the form, or shows it again with
// problems. The amount field is in it only if the unit needs one, where the
// platform can change an open form.
type Form struct {
	Ticket   *tickets.Ticket
	Verdict  tickets.Verdict
	Values   tickets.Form
	Problems tickets.Problems
}

// Details shows everything EPM sent.
type Details struct{ Ticket *tickets.Ticket }

// Note is a sentence or a few lines, plain text. Adapters escape it.
type Note struct {
	Text string
	// Again says of the answer to a form that nothing was done and that the
	// same may be sent once more: what was typed is kept.
	Again bool
}

// Done needs no words: the card will tell.
type Done struct{}

func (Form) answer()    {}
func (Details) answer() {}
func (Note) answer()    {}
func (Done) answer()    {}
