package epm

import (
	"strings"

	"github.com/countersign/countersign/tickets"
)

// key is a name that occurs in the vendor's templates, without regard to
// letter case; 0 is any other name.
type key uint8

// maxKeys is more than the templates have names; learn checks it.
const maxKeys = 80

// event is what is known of one of the four webhooks. It is learned from the
// vendor's template.
type event struct {
	kind    tickets.Kind
	created bool // else an update

	times [maxKeys]uint8 // how often the template has the name: workstyle is there twice
	top   [maxKeys]bool  // the name stands at the top, not in requestInfo
	// own are the names that stand before everything that a requester or
	// decider writes. Somebody who writes such a name into a value writes it
	// after EPM did, so that the first occurrence is EPM's; of all others it
	// is the last.
	own  [maxKeys]bool
	info bool // the template has requestInfo
}

// requestInfo is the one object inside the vendor's templates.
const requestInfo = "requestinfo"

var keys, events = learn()

// known is the key of a name that code relies on.
func known(name string) key {
	k := keyOf(name)
	if k == 0 {
		panic("epm: no template has " + name)
	}
	return k
}

var (
	kEventType = known("EventType")
	kRequestID = known("RequestId")
	kTenantID  = known("TenantId")
	kTimestamp = known("Timestamp")
	kNumber    = known("TicketNumber")
	kReason    = known("Reason")

	kComputerID = known("ComputerId")
	kGroupID    = known("GroupId")
	kUserID     = known("UserId")
	kUserName   = known("UserName")
	kRequested  = known("DurationRequested")

	kUser     = known("user")
	kHost     = known("hostName")
	kGroup    = known("ComputerGroup")
	kPath     = known("filePathObjectId")
	kHosted   = known("hostedFilePath")
	kCommand  = known("cmdArgs")
	kParent   = known("parentProcess")
	kSource   = known("downloadSourceUrl")
	kSHA1     = known("sha1Hash")
	kSHA256   = known("sha256Hash")
	kProduct  = []key{known("productName"), known("productDescription"), known("bundleInfoDescription"), known("storeAppName"), known("comDisplayName"), known("serviceName")}
	kVersions = []key{known("productVersion"), known("fileVersion")}
	kMaker    = known("publisher")

	kScore   = known("reputationScore")
	kScorer  = known("reputationIntegrationType")
	kScoreAt = known("reputationScoreDateTime")

	kDecision = known("Decision")
	kDecided  = known("DecisionTime")
	kDecider  = known("DecisionPerformedByUser")
	kDuration = known("Duration")
	kStart    = known("StartTime")
	kEnd      = known("EndTime")
)

// literal are the fields in which a backslash is common and a control
// character next to impossible: one there shows that a backslash was not
// meant as an escape (C:\new\table, CORP\bob).
var literal = func() (l [maxKeys]bool) {
	for _, k := range []key{kUser, kUserName, kHost, kPath, kHosted, kParent, kDecider} {
		l[k] = true
	}
	return l
}()

// learn reads the templates.
func learn() (map[string]key, map[string]*event) {
	names := map[string]key{}
	all := map[string]*event{}
	for _, t := range []struct {
		body  string
		kind  tickets.Kind
		types []string
	}{
		{adminCreatedTemplate, tickets.Admin, []string{eventAdminCreated, consoleAdminCreated}},
		{adminUpdatedTemplate, tickets.Admin, []string{eventAdminUpdated, consoleAdminUpdated}},
		{appCreatedTemplate, tickets.Application, []string{eventAppCreated, consoleAppCreated}},
		{appUpdatedTemplate, tickets.Application, []string{eventAppUpdated, consoleAppUpdated}},
	} {
		values, err := scan(t.body)
		if err != nil {
			panic("epm: a template is not JSON")
		}
		e := &event{kind: t.kind, created: t.types[0] == eventAdminCreated || t.types[0] == eventAppCreated}
		written := false // by somebody
		for _, v := range values {
			name := strings.ToLower(v.name)
			if name == requestInfo {
				e.info = true
				continue
			}
			k, ok := names[name]
			if !ok {
				k = key(len(names) + 1)
				names[name] = k
			}
			if name == "reason" || name == "decisionperformedbyuser" {
				written = true
			}
			e.times[k]++
			e.top[k] = v.in == ""
			e.own[k] = !written
		}
		for _, name := range t.types {
			all[squeeze(name)] = e
		}
	}
	if len(names) >= maxKeys {
		panic("epm: maxKeys is too small")
	}
	return names, all
}

// keyOf is the key of a name.
func keyOf(name string) key {
	var buf [32]byte // the longest name has 25 bytes
	if len(name) > len(buf) {
		return 0
	}
	b := buf[:len(name)]
	for i := range b {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b[i] = c
	}
	return keys[string(b)]
}

// squeeze makes the types of events comparable: letters only, small.
func squeeze(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z':
			return r
		case r == '_' || r == ' ' || r == '-':
			return -1
		}
		return '?'
	}, name)
}
