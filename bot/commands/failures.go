package commands

import (
	"errors"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/tickets"
)

// Unread says why nothing is done while the settings, or a ticket, cannot be
// read.
func Unread(err error) string {
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return wording.MsgDamagedSettings
	case errors.Is(err, store.ErrUnreadable):
		return wording.MsgUnreadable
	}
	return wording.MsgStoreAway
}

// ReadFailed answers an act on a ticket that cannot be read.
func (h *Handler) ReadFailed(n tickets.Number, err error) *adapters.Note {
	if err == nil || errors.Is(err, store.ErrNotFound) {
		return &adapters.Note{Text: wording.MsgNoTicket(n)}
	}
	h.Log.Error("cannot read ticket", "ticket", n, "err", err)
	return &adapters.Note{Text: Unread(err), Retryable: !errors.Is(err, store.ErrUnreadable)}
}

// WriteUnknown answers an act whose write failed: it may have been made all the
// same.
func (h *Handler) WriteUnknown(n tickets.Number, err error) *adapters.Note {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnreadable) {
		return h.ReadFailed(n, err)
	}
	h.Log.Error("cannot record what somebody did", "ticket", n, "err", err)
	return &adapters.Note{Text: wording.MsgUnrecorded, Retryable: true}
}
