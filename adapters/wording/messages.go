package wording

import (
	"errors"
	"fmt"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
	"github.com/countersign/countersign/tickets/selfcheck"
)

// Sentences for people whose wish is not granted. They are the same on each
// platform and in each place.
const (
	MsgNotApprover       = "You cannot decide this request: you are not one of the approvers"
	MsgNoApprovers       = "Nobody can decide requests yet: no approvers are configured. An admin has to name them in COUNTERSIGN_APPROVERS"
	MsgNotAdmin          = "Only an admin of Countersign can do that"
	MsgCannotCheck       = "Countersign cannot find out right now whether you are an approver, so it does not let you decide. Please try again in a minute"
	MsgNotReader         = "Only approvers and admins can read requests here. In a channel in which requests are shown its members can too: type the command there"
	MsgCannotCheckReader = "Countersign cannot find out right now whether you may read requests, so it does not show them. Please try again in a minute"
	MsgOwnRequest        = "You cannot decide your own request"
	MsgCannotTell        = "Countersign cannot find out right now whether this request is your own, so it does not let you decide it. Please try again in a minute; if it lasts, tell your admin"
	MsgUnknownAsker      = "EPM did not say who made this request, so Countersign cannot tell whether it is your own. Please decide it in the EPM console"
	MsgNobodyNamed       = "Nobody can decide this request here: no approvers are configured. An admin names them with /" + adapters.CommandName + " config set approvers; until then, decide it in the EPM console"
	MsgNobodyMay         = "Nobody can decide this request here: EPM did not say who made it, so it may be anybody's own. Decide it in the EPM console"
	MsgOtherRequest      = "This card belongs to another request"
	MsgMoreKnown         = "More is known of this request now: read the card again"
	MsgNotShownHere      = "This card was not posted here by this Countersign, so it does nothing. Please use the request's own message"
	MsgNoQueue           = "No request waits for you here: you are not one of the approvers"
	MsgNothingWaits      = "No request waits for a decision"
	MsgStranger          = "Only members of this workspace can do that"
	MsgCannotPlace       = "Countersign cannot find out right now whether you belong to this workspace, so nothing was done. Please try again in a minute"
	MsgStarting          = "Countersign is still starting. Please try again in a moment"
	MsgBusy              = "Countersign is busy. Please try again in a moment"
	MsgAgain             = "That took too long, so nothing was done. Please click again"
	MsgMoment            = "This takes a moment…"
	MsgStopping          = "Countersign was restarted before this ended, and nobody knows whether it was done. Please look, and try again in a minute"
	MsgSlow              = "Countersign or its store did not answer in time, and nobody knows whether this was done. Please look at the request's message in a minute: if it does not show it, try again"
	MsgBroken            = "Something went wrong in Countersign, and nothing was decided. Please try again; if it happens again, tell your admin"
	MsgNothingToShow     = "EPM sent nothing beyond what the message shows"
	MsgDamaged           = "The record of this request in Countersign's store was changed by something else than Countersign, so what it says may be false. Nobody can decide it here until an admin has compared it with the EPM console, and lets others decide it with /" + adapters.CommandName + " ticket NUMBER accept-damaged yes"
	MsgAcceptedDamage    = "The record of this request was changed by something else than Countersign, and an admin lets it be decided all the same. Compare it with the EPM console before you decide"
	MsgAcceptedByYou     = "You let others decide this request although its record is damaged, so you cannot decide it yourself: two people look at such a request"
	MsgPerhapsAccepted   = "It cannot be told whether it was you, with another account, who let others decide this request although its record is damaged. Two people look at such a request: let somebody else decide it"
	MsgImitates          = "Careful: parts of this request look as if someone tried to write fields in EPM's name. Check it in the EPM console before you decide"
)

// What the bot says to the person who acted.
const (
	MsgOldButton       = "I do not know this button any more. Please use the buttons of the newest message about the request."
	MsgStoreAway       = "I cannot reach my store at the moment, and nothing was changed. Please try again in a minute."
	MsgDamagedSettings = "The settings in my store are damaged and cannot be read. An admin makes the default settings again with /epm config reset yes, or whoever runs me with countersign settings reset yes."
	MsgUnreadable      = "The record of this request in my store is damaged and cannot be read, so nobody can decide it here. Decide it in the EPM console, and tell whoever runs me: countersign audit verify names what is damaged, and a backup has what was there."

	MsgNotDamaged       = "The record of %s is not damaged, or was accepted already: nothing was changed."
	MsgAcceptDamage     = "The record of %s was changed by something else than Countersign, so what it says may be false. Compare it with the EPM console. To let other people decide this request, and no other, send: /epm ticket %s accept-damaged yes"
	MsgDamageAccepted   = "Other people can now decide %s although its record is damaged. If it already holds a decision, that is now sent to EPM. The history records that you accepted this."
	MsgChangedMeanwhile = "%s changed meanwhile. Look at it again, then repeat the command."
	MsgDecidedByYou     = "The decision in this record is yours, or may be: another admin has to look at it, because two people look at a request whose record is damaged."
	// MsgUnrecorded is for a write whose end nobody knows.
	MsgUnrecorded = "My store did not answer in time, and I do not know whether this was recorded. Please look at the request's message in a minute: if it does not show it, try again."
)

// MsgNoTicket says that there is no ticket n.
func MsgNoTicket(n tickets.Number) string {
	return fmt.Sprintf("There is no ticket %s", short(string(n), 40))
}

// MsgOwn says why somebody may not decide a request that m says is or may be
// their own, or "".
func MsgOwn(m selfcheck.Match) string {
	switch {
	case m.SelfMatch == selfcheck.SelfMatchYes:
		return MsgOwnRequest
	case m.SelfMatch == selfcheck.SelfMatchNo:
		return ""
	case m.Asked == "":
		return MsgUnknownAsker
	case m.Known == "":
		return MsgCannotTell
	}
	return fmt.Sprintf("This request may be your own: it was made by %s, and you are %s. Please let somebody else decide it", short(m.Asked, 100), short(m.Known, 100))
}

// MsgDecided says who was faster with t, where and when.
func MsgDecided(t *tickets.Ticket) string {
	d := t.Decision
	if d == nil {
		return "This request is already decided"
	}
	return fmt.Sprintf("%s has already %s this request in %s, %s", DisplayName(d.By), d.Verdict.Past(), PlatformName(d.By.Platform), FormatTime(d.At))
}

// MsgUndecidable says why t cannot be decided, err being what
// [tickets.Ticket.Decide] answered: the sentence of the rule, and who was
// faster.
func MsgUndecidable(t *tickets.Ticket, err error) string {
	switch {
	case errors.Is(err, tickets.ErrDecided):
		return MsgDecided(t) + ". The decision is on its way to EPM."
	case errors.Is(err, tickets.ErrFinal) && t.Decision != nil:
		return tickets.MsgFinal + ". " + MsgDecided(t) + "."
	case errors.Is(err, tickets.ErrFinal):
		return tickets.MsgFinal + ". " + Status(t).String() + "."
	case errors.Is(err, tickets.ErrDamaged):
		return MsgDamaged
	case errors.Is(err, tickets.ErrAccepted):
		return MsgAcceptedByYou
	case errors.Is(err, tickets.ErrInactive):
		return tickets.MsgInactive
	case errors.Is(err, tickets.ErrOtherRequest):
		return MsgOtherRequest
	}
	return "This request cannot be decided: " + err.Error()
}
