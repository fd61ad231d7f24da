package adapters

// What the bot says to the person who acted.
const (
	SayOldButton       = "I do not know this button any more. Please use the buttons of the newest message about the request."
	SayStoreAway       = "I cannot reach my store at the moment, and nothing was changed. Please try again in a minute."
	SayDamagedSettings = "The settings in my store are damaged and cannot be read. An admin makes the default settings again with /epm config reset yes, or whoever runs me with countersign settings reset yes."
	SayUnreadable      = "The record of this request in my store is damaged and cannot be read, so nobody can decide it here. Decide it in the EPM console, and tell whoever runs me: countersign audit verify names what is damaged, and a backup has what was there."

	SayNotDamaged       = "The record of %s is not damaged, or was accepted already: nothing was changed."
	SayAcceptDamage     = "The record of %s was changed by something else than Countersign, so what it says may be false. Compare it with the EPM console. To let other people decide this request, and no other, send: /epm ticket %s accept-damaged yes"
	SayDamageAccepted   = "Other people can now decide %s although its record is damaged. If it already holds a decision, that is now sent to EPM. The history records that you accepted this."
	SayChangedMeanwhile = "%s changed meanwhile. Look at it again, then repeat the command."
	SayDecidedByYou     = "The decision in this record is yours, or may be: another admin has to look at it, because two people look at a request whose record is damaged."
	// SayUnrecorded is for a write whose end nobody knows.
	SayUnrecorded = "My store did not answer in time, and I do not know whether this was recorded. Please look at the request's message in a minute: if it does not show it, try again."
)
