package epm

import "time"

// Paths of the API, below the services host.
const (
	// https://docs.beyondtrust.com/epm-wm/docs/api
	tokenPath = "/oauth/connect/token"

	// DefaultAppDecisionPath answers an application request.
	// https://docs.beyondtrust.com/epm-wm/v25.5/reference/authorizationrequest
	DefaultAppDecisionPath = "/management-api/v2/AuthorizationRequest/notification"

	// DefaultAdminDecisionPath answers an admin request. The vendor documents
	// the call but not its path below AdminAccessRequest; this is the most
	// probable one. https://docs.beyondtrust.com/epm-wm/v25.7/reference/adminaccessrequest
	DefaultAdminDecisionPath = "/management-api/v2/AdminAccessRequest/approval"

	// createAdminSegment ends the path that creates a request when it is
	// posted to, possibly an approved one. Nothing here may ever do so.
	// https://docs.beyondtrust.com/epm-wm/v26.1/reference/post_v2-adminaccessrequest
	createAdminSegment = "adminaccessrequest"

	// Records, newest version first. https://docs.beyondtrust.com/epm-wm/reference
	adminListPath = "/management-api/v3/AdminAccessRequest"
	appListPath   = "/management-api/v3/AuthorizationRequest"
	appListPathV2 = "/management-api/v2/AuthorizationRequest"
)

// Words and codes of a decision, from working clients.
const (
	statusApproved   = "2000"
	statusDenied     = "2001"
	decisionApproved = "Approved"
	decisionDenied   = "Denied"

	// decisionTimeLayout is UTC without a zone.
	decisionTimeLayout = "2006-01-02 15:04:05"
)

// maxPageSize is the largest page of a list: "Shouldn't exceed 200".
// https://docs.beyondtrust.com/epm-wm/reference
const maxPageSize = 200

// callsPerSecond is our own pace. The vendor's published connector states
// 1000 requests per 100 s; half of that leaves room for others.
const callsPerSecond = 5

// tokenEarly is how long before its end a token is renewed.
const tokenEarly = 60 * time.Second

// Types of webhook events, without regard to case.
// https://docs.beyondtrust.com/epm-wm/docs/bt-epm-servicenow-integration
const (
	eventAppCreated   = "urm_native_ticket_created"
	eventAppUpdated   = "urm_native_decision_update"
	eventAdminCreated = "jit_admin_ticket_created"
	eventAdminUpdated = "jit_admin_ticket_updated"
)

// timeLayouts are tried in order for every time of a webhook; the vendor
// documents none. A time without a zone is UTC.
var timeLayouts = []string{
	time.RFC3339Nano,
	"2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 UTC",
	"1/2/2006 3:04:05 PM",
	"1/2/2006 15:04:05",
	time.RFC1123,
	time.RFC1123Z,
}
