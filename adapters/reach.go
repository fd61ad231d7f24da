package adapters

// Reach is what a platform knows of a principal at the moment.
type Reach struct {
	Name    string // what people call it there, visible and short; empty if the platform does not tell
	People  int    // how many people it is; the bot itself is none of them
	Counted bool   // whether the platform tells how many
	Problem string // why it is nobody, for people, without a full stop; empty if it is somebody
	// Nameless is why the platform does not say who they are, for people, without
	// a full stop; empty if it does. They decide nothing then, unless people may
	// decide their own requests.
	Nameless string
	Err      error // why it could not be found out, for the operator; the rest is empty then
}
