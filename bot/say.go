package bot

// What the bot alone can say to the person who acted. The other words are in
// adapters, those of the rules in tickets.
const (
	sayOldButton = "I do not know this button any more. Please use the buttons of the newest message about the request."
	sayStoreAway = "I cannot reach my store at the moment, and nothing was changed. Please try again in a minute."
)
