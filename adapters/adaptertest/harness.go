package adaptertest

import (
	"context"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// People is how many people a harness must have.
const People = 20

// Harness is a chat that runs, with the platform that it speaks to.
type Harness interface {
	Chat() adapters.Chat
	Place() tickets.Place      // a channel that the bot may post to
	Actor(i int) tickets.Actor // person i, from 0 to People-1
	// Many is a new group or role of the first n people, called by that name.
	Many(name string, n int) tickets.Principal
	// Missing is an ID in the shape of p's that there is not.
	Missing(p tickets.Principal) string

	// Cards are the messages in the place outside threads, oldest first.
	Cards() []Card
	// Replies are the texts in the thread of a card, oldest first.
	Replies(id string) []string
	// Notes are the texts that only person i was shown in the place.
	Notes(i int) []string
	// Pictures are the descriptions of pictures that only person i was shown,
	// and false where the platform shows none to one person alone.
	Pictures(i int) (alts []string, shows bool)
	// Delete removes a message, as an admin does.
	Delete(id string)
	// Fail makes the next call of op go wrong.
	Fail(op Op, how Trouble)

	// Click presses a button of a card.
	Click(ctx context.Context, i int, id string, action adapters.Action) error
	// Choose has person i choose a state from the menu of a card.
	Choose(ctx context.Context, i int, id string, state tickets.State) error
	// Screen is the text of the form or view that person i has open, or "".
	Screen(i int) string
	// Submit fills in and sends the open form of person i. The values are by
	// field; a unit is chosen before an amount is typed. It returns what the
	// person is told is wrong.
	Submit(ctx context.Context, i int, values map[tickets.FormField]string) (problems []string, err error)
	// Command types /epm with text, and returns what the person is shown.
	Command(ctx context.Context, i int, text string) (string, error)
	// Configure fills in and sends the form of the settings that person i has
	// open. The values are by key. It returns what the person is told is wrong.
	Configure(ctx context.Context, i int, values map[string]string) (problems []string, err error)
	// Complete has person i type into an argument of a word, others being
	// given, and returns the values that are suggested. The error is
	// errors.ErrUnsupported where nothing is.
	Complete(ctx context.Context, i int, word, arg, typed string, given map[string]string) ([]string, error)
	// OpenHome has person i open the page that is for them alone. The error is
	// errors.ErrUnsupported where there is none.
	OpenHome(ctx context.Context, i int) error
	// Home is that page as person i last saw it, or the zero Card.
	Home(i int) Card
	// ClickHome presses a button of ticket n on that page.
	ClickHome(ctx context.Context, i int, n tickets.Number, action adapters.Action) error
	// Turn presses the button of the newest note of person i that turns a page.
	Turn(ctx context.Context, i int, action adapters.Action) error
	// Waits reports whether person i was told that an answer takes a moment,
	// and sees that still.
	Waits(i int) bool

	// Stop tells the chat to end, and returns a channel that is closed when it
	// has ended.
	Stop() <-chan struct{}
}

// Card is a message as people see it.
type Card struct {
	ID      string
	Text    string            // everything that can be read on it
	Speech  string            // what a notification and a screen reader say
	Buttons []adapters.Action // in order
	Menu    []string          // of the states: what it says while it is closed, then the choices
	Pings   []string          // whom the message notifies
}

// Op is a call to the platform.
type Op string

// The calls that a harness can make fail.
const (
	OpPost  Op = "post"
	OpEdit  Op = "edit"
	OpReply Op = "reply"

	OpIdentify Op = "identify"
	OpAnswer   Op = "answer" // that is said after the first one
	OpHome     Op = "home"
)

// Trouble is a way for a call to go wrong.
type Trouble string

// The troubles.
const (
	LostAnswer  Trouble = "took effect, no answer"
	LostRequest Trouble = "no effect, no answer"
	Limited     Trouble = "rate limited, no effect"
)

// Hang bounds the waits of tests that need a chat: it ends what hangs, and is
// far above what a busy machine needs.
const Hang = 2 * time.Minute

// Patience is how long a chat is told that its platform waits for an answer
// where a test is not about that. The fakes wait for [Hang].
const Patience = Hang / 2
