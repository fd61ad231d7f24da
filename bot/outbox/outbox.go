// Package outbox does what tickets still owe. It claims tickets by lease, lane by
// lane, and for each step that is pending notes that it begins, has it done, and
// records what came of it. The first try, the retry after an error, the restart
// after a crash and a second replica take the same path.
//
// It decides when a step is done and by how many workers at once, not what it
// does: that is said by [Steps]. It knows no chat, no EPM and no text for people.
//
// # Lanes
//
// Steps wait in lanes ([tickets.Lane]), each with its own workers, so that
// nothing that is slow or down delays anything else (lane.go). Within a lane what
// is due longest comes first, and posts come in order (queue.go).
//
// # Places that cannot be used
//
// A channel may be deleted or archived, the bot be taken out of it, its token be
// refused ([tickets.Failure].ChannelFault). Then no step calls the platform for
// what cannot be done there; the tickets note that they wait, one step sees every
// five minutes whether it works again, and once it does all go on (outage.go).
// This is known in memory only: the tickets say what is owed, and after a restart
// the first step that fails tells again.
package outbox

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/tickets"
)

// RecordTimeout is for one write to the store, also while stopping.
const RecordTimeout = 5 * time.Second

// Store is what the outbox needs of the store; see the store package.
type Store interface {
	Update(ctx context.Context, n tickets.Number, change func(*tickets.Ticket) error) (*tickets.Ticket, error)
	Claim(ctx context.Context, lane tickets.Lane, now, until time.Time, limit int) ([]*tickets.Ticket, error)
	Release(ctx context.Context, lane tickets.Lane, n tickets.Number) error
}

// Steps does the steps. Errors hold a [tickets.Failure]; a panic is a failure of
// that step alone.
type Steps interface {
	// Show posts, edits or replies in a chat. done records it in the ticket.
	Show(ctx context.Context, t *tickets.Ticket, s tickets.Step) (done func(*tickets.Ticket), err error)
	// Call does any other step. record is what to record of it, also if it
	// failed.
	Call(ctx context.Context, t *tickets.Ticket, s tickets.Step) (record func(*tickets.Ticket), err error)
	// Panicked is what to record of a step of Call that panicked: nobody knows
	// what it has done, and it is not to be tried before next.
	Panicked(t *tickets.Ticket, s tickets.Step, next time.Time) (record func(*tickets.Ticket))
	// Check compares t with its history before anything is done for it in a
	// lane that asks for that. It returns the ticket as it is then.
	Check(ctx context.Context, t *tickets.Ticket) (*tickets.Ticket, error)
}

// Hooks are told what happens. Each may be nil, and must return at once.
type Hooks struct {
	// Begin is called before a step is done, with its context; the function that
	// it returns is called afterwards, with "ok" or the failure's class.
	Begin func(ctx context.Context, t *tickets.Ticket, s tickets.Step) (context.Context, func(n tickets.Number, result string, took time.Duration))
	// Recorded is called once a step is recorded.
	Recorded func(Result)
	// Lost is called when a place can no longer be used, for a reason that
	// people may read, and Recovered when everything works there again.
	Lost      func(place tickets.Place, why string)
	Recovered func(place tickets.Place)
}

// Result is a step that was done and recorded.
type Result struct {
	Step          tickets.Step
	Before, After *tickets.Ticket
	Final         bool // the step made the ticket final
}

// LaneConfig is a lane to work on.
type LaneConfig struct {
	Name    tickets.Lane
	InOrder bool            // nothing is claimed before all that was claimed is given back
	Checked bool            // each ticket is checked before anything is done for it
	After   <-chan struct{} // nothing is claimed before it is closed
}

// Config is what an outbox is made of. All of it is required but Hooks.
type Config struct {
	Store Store
	Steps Steps
	Hooks Hooks
	Lanes []LaneConfig
	Log   *slog.Logger
	Now   func() time.Time

	Workers int           // steps at once in each lane
	Poll    time.Duration // how often a lane looks for what became due
	Lease   time.Duration // how long a claim lasts
	Timeout time.Duration // of one step, less than Lease
	Grace   time.Duration // given to steps under way when Run is told to end
}

// Outbox does what tickets owe. Make one with [New].
type Outbox struct {
	Config
	lanes   map[tickets.Lane]*Lane
	outages outages
}

// New makes an outbox. It does nothing before [Outbox.Run].
func New(c Config) *Outbox {
	o := &Outbox{Config: c, lanes: map[tickets.Lane]*Lane{}, outages: outages{woken: make(chan struct{}, 1)}}
	for _, l := range c.Lanes {
		o.lanes[l.Name] = newLane(l)
	}
	return o
}

// Run does what is owed until ctx ends. Then it takes up nothing new and returns
// when what was under way has ended, or after Grace.
func (o *Outbox) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range o.lanes {
		wg.Go(func() { o.runLane(ctx, l) })
	}
	wg.Go(func() { o.runWakeups(ctx) })
	wg.Wait()
}

// Names lists the lanes.
func (o *Outbox) Names() []tickets.Lane { return slices.Sorted(maps.Keys(o.lanes)) }

// Lane returns a lane, or nil if there is none of that name.
func (o *Outbox) Lane(name tickets.Lane) *Lane { return o.lanes[name] }

// Wake starts the lanes in which t owes something now.
func (o *Outbox) Wake(t *tickets.Ticket) {
	now := o.Now()
	for name, at := range t.NextDue() {
		if l := o.lanes[name]; l != nil && !at.After(now) {
			l.signal()
		}
	}
}

// RetryNow has everything that waits tried at once: what kept it from working,
// such as credentials, may have changed.
func (o *Outbox) RetryNow() {
	o.outages.retry(o.Now())
	for _, l := range o.lanes {
		l.resume()
	}
}

// signal wakes the one that waits for c, which holds one value.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
