package bot

import (
	"context"
	"errors"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// sayUnread says why nothing is done while the settings, or a ticket, cannot be
// read.
func sayUnread(err error) string {
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return sayDamaged
	case errors.Is(err, store.ErrUnreadable):
		return sayUnreadable
	}
	return sayStoreAway
}

// mendSettings begins damaged settings anew: with what the program was
// started with. What stood there is kept in the history.
func (b *Bot) mendSettings(ctx context.Context, by tickets.Actor) string {
	none := tickets.Settings{}
	if no := b.locksOut(ctx, by, none, []tickets.Change{{Key: tickets.KeyAdmins}}); no != "" {
		return no
	}
	after, err := b.Store.ResetSettings(ctx, tickets.Change{At: b.Now(), By: by})
	switch {
	case errors.Is(err, store.ErrChanged):
		return "Somebody else has just changed the settings. Please look at /epm config."
	case err != nil:
		b.Log.Error("cannot mend the settings", "err", err)
		return sayStoreAway
	}
	b.Log.Warn("damaged settings were made anew; the history has what stood there", "actor", by.String(), "settings", after.Version)
	signal(b.changed)
	if err := b.Load(ctx); err != nil {
		b.Log.Warn("cannot read the settings; the known ones hold", "err", err)
	}
	return "The settings in the store could not be read. Every setting is as the program was started with again. " +
		"What stood there is kept: countersign settings export --history prints it."
}
