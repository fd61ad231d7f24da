package epm

import _ "embed" // the vendor's templates

// Template is a webhook template of the vendor's manual, letter for letter.
type Template struct {
	Event string // as EPM's webhook settings call it
	Body  string
}

//go:embed templates/jit_admin_ticket_created.json
var adminCreatedTemplate string

//go:embed templates/jit_admin_ticket_updated.json
var adminUpdatedTemplate string

//go:embed templates/urm_native_ticket_created.json
var appCreatedTemplate string

//go:embed templates/urm_native_decision_update.json
var appUpdatedTemplate string

// Templates returns the four templates, in the order of the vendor's manual.
// https://docs.beyondtrust.com/epm-wm/docs/bt-epm-servicenow-integration
func Templates() []Template {
	return []Template{
		{"JIT Admin Ticket Created", adminCreatedTemplate},
		{"JIT Admin Decision Updated", adminUpdatedTemplate},
		{"JIT Application Access Ticket Created", appCreatedTemplate},
		{"JIT Application Access Decision Updated", appUpdatedTemplate},
	}
}
