package tickets

// RemoteList is the Remote of an Incoming that came from EPM's list of requests
// and not by a webhook.
const RemoteList = "EPM's list"

// ListedRequest is a request as EPM lists it.
type ListedRequest struct {
	// IDs is every identifier that the record has; what a webhook calls
	// RequestId is one of them. Unless Sure, it is not known which: the first
	// is the most probable.
	IDs       []RequestID
	IDCertain bool // IDs[0] is the request's

	Request Request  // what the list tells of it; its ID is IDs[0]
	Outcome *Outcome // nil while it is undecided
	Raw     []byte   // the record, unchanged
}

// ListResult is how far a list was read.
type ListResult struct {
	Complete bool // all of it, and not its ends alone
	Skipped  int  // records of a shape that is not known
}
