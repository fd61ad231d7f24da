// Package epm is everything that speaks BeyondTrust Endpoint Privilege
// Management: the webhooks that come in (receiver.go, parse.go, repair.go)
// and the API client that goes out (client.go). The vendor's words stay in
// this package; the rest of the program speaks the language of tickets.
//
// What is assumed about EPM (paths, names, codes, layouts) stands in
// facts.go and nowhere else, each with its source, so that a correction from
// a live tenant is one line. The package was verified against the vendor's
// documentation and the fake in epmtest, not against a live tenant.
package epm
