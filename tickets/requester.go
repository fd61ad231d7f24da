package tickets

import "github.com/countersign/countersign/tickets/selfcheck"

// CompareRequester compares who made r with a person of a chat.
func (r *Request) CompareRequester(p selfcheck.Identity) selfcheck.Match {
	texts := []string{r.User, r.UserID}
	if r.SuspectedForgery {
		// Which of its fields EPM wrote cannot be told.
		for _, f := range r.Fields {
			texts = append(texts, f.Value)
		}
	}
	return selfcheck.Compare(texts, p)
}
