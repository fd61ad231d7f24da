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
	//
	// Below its list an admin request is found by the requestId of its
	// webhooks, and the answer is an array, though one is asked for.
	// https://docs.beyondtrust.com/epm-wm/reference/get_v2-adminaccessrequest-requestid
	adminListPath   = "/management-api/v3/AdminAccessRequest"
	adminListPathV2 = "/management-api/v2/AdminAccessRequest"
	appListPath     = "/management-api/v3/AuthorizationRequest"
	appListPathV2   = "/management-api/v2/AuthorizationRequest"
)

// Words and codes of a decision, from working clients.
const (
	statusApproved   = "2000"
	statusDenied     = "2001"
	statusPending    = "1000"
	decisionApproved = "Approved"
	decisionDenied   = "Denied"

	// durationOnce is a single use; every other duration is seconds. Whether
	// it is accepted for admin requests is not documented.
	durationOnce = "Once"

	// decisionTimeLayout is UTC without a zone, as working clients send and
	// show it. The vendor documents neither layout nor zone of the times in its
	// webhooks: readTime takes the usual ones, and a time without a zone is UTC.
	decisionTimeLayout = "2006-01-02 15:04:05"
)

// Words that say that a request is not decided, without case and blanks: what
// they begin or end with, and whole: ticket systems and the unset
// values of .NET write so.
var (
	pendingParts = []string{"pending", "awaiting", "waiting"}
	pendingWords = []string{"", statusPending, "new", "open", "opened", "active", "created", "requested", "submitted", "received", "queued",
		"inprogress", "inprocess", "processing", "inreview", "underreview", "reviewing", "onhold", "undecided", "notdecided", "notyetdecided", "nodecision",
		"unassigned", "none", "null", "na", "notset", "unset", "unspecified", "notspecified", "undefined", "unknown"}
)

// pageSize is the page of a list. EPM allows 200 ("Shouldn't exceed 200");
// half of it keeps an answer well below the size we read.
// https://docs.beyondtrust.com/epm-wm/reference
const pageSize = 100

// callsPerSecond is our own pace. The vendor's published connector states
// 1000 requests per 100 s; half of that leaves room for others.
const callsPerSecond = 5

// tokenEarly is how long before its end a token is renewed.
const tokenEarly = 60 * time.Second

// Types of webhook events; letter case, blanks and underscores do not matter.
// The first four are literals in the vendor's templates.
// https://docs.beyondtrust.com/epm-wm/docs/bt-epm-servicenow-integration
const (
	eventAppCreated   = "URM_Native_Ticket_Created"
	eventAppUpdated   = "URM_NATIVE_DECISION_UPDATE"
	eventAdminCreated = "JIT_ADMIN_TICKET_CREATED"
	eventAdminUpdated = "JIT_ADMIN_TICKET_UPDATED"
)

// Names of the events in EPM's webhook settings, which the placeholder
// %%EventType%% may stand for.
// https://docs.beyondtrust.com/epm-wm/docs/webhook-settings
const (
	consoleAppCreated   = "JIT Application Access Ticket Created"
	consoleAppUpdated   = "JIT Application Access Decision Updated"
	consoleAdminCreated = "JIT Admin Ticket Created"
	consoleAdminUpdated = "JIT Admin Decision Updated"
)

// Where a record tells whose it is and what was decided, in small letters.
// An application record has serviceTicket and accessDecision, as a working
// client reads them; the names of an admin record are probable ones.
// The first sureIDs names of an identifier can only mean what a webhook calls
// RequestId.
var (
	recordIDs       = []string{"requestid", "itsmrequestid", "id", "serviceticket.systemid", "systemid"}
	recordDecisions = []string{"accessdecision.decision", "accessdecision.status", "decision"}
)

const sureIDs = 2

// Where a record tells who asked and when, in small letters, at the top or
// below requestInfo. The vendor's create call speaks of a user name and its
// list of "Created on" and a "Computer User Name".
// https://docs.beyondtrust.com/epm-wm/v26.1/reference/get_v3-adminaccessrequest
var (
	recordUsers   = []string{"user", "username", "computerusername"}
	recordCreated = []string{"created", "createdon", "createddate", "createdat", "timeofrequest", "timestamp"}
)

// Names in a webhook's or list's query and envelope.
// https://docs.beyondtrust.com/epm-wm/reference
const (
	queryPageSize   = "Pagination.PageSize"
	queryPageNumber = "Pagination.PageNumber"
)

// maxPages is how many pages of a list are searched for one request. The
// order of a list is not documented: half of them are taken from its end.
const maxPages = 6

// listPages is how many pages of a list are read for a comparison; the same
// holds for its order.
const listPages = 10

// seldomPart is the part of our pace that a comparison may take: one call in
// so many. sparePoll is how often it looks for a pause between decisions.
const (
	seldomPart = 5
	sparePoll  = 100 * time.Millisecond
)

// consolePath is the console's page of a request, followed by the ticket
// number without letters and leading zeros, as a working client links it.
const (
	consolePath    = "/jit-access-management"
	consoleDetails = "/details/"
)

// correlationHeader carries the request's identifier, for the vendor's
// support, as a working client sends it.
const correlationHeader = "X-Correlation-Id"

// userAgent names us to EPM and its proxies.
const userAgent = "countersign"

// Names in the body of a decision, for a comparison with what a tenant
// describes. A test holds them to what is sent.
var (
	appNames = decisionNames{sent: []string{"status", "decision", "decisionPerformedByUser", "duration", "itsmRequestId",
		"decisionTime", "message", "systemId", "ticketId", "ticketUrl"}}
	adminNames = decisionNames{
		sent:     []string{"decision", "duration", "decisionPerformedByUser", "message", "systemId", "ticketId", "ticketUrl"},
		oneOf:    []string{"requestId", "id"},
		optional: []string{"decisionTime"},
	}
)
