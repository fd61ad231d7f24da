package main

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Kubernetes tells each container of the services in its namespace. A service
// whose name begins with countersign, such as that of a release of this name,
// is told of by variables with our prefix:
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var (
	serviceNumber = regexp.MustCompile(`^(?:[A-Z0-9_]+_)?(?:SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)_PORT)$`)
	serviceAddr   = regexp.MustCompile(`^(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|PORT_[0-9]+_(?:TCP|UDP|SCTP)_ADDR)$`)
	serviceProto  = regexp.MustCompile(`^(?:[A-Z0-9_]+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO$`)
	serviceURL    = regexp.MustCompile(`^(?:[A-Z0-9_]+_)?PORT(?:_([0-9]+)_(TCP|UDP|SCTP))?$`)
)

// serviceVariable reports whether Kubernetes set this variable, whose name is
// without our prefix. The value counts, too: COUNTERSIGN_PORT=8080 is what
// somebody wrote who meant COUNTERSIGN_LISTEN.
func serviceVariable(name, value string) bool {
	if serviceNumber.MatchString(name) {
		return isPort(value)
	}
	if serviceAddr.MatchString(name) {
		_, err := netip.ParseAddr(value)
		return err == nil
	}
	if is := serviceProto.FindStringSubmatch(name); is != nil {
		return value == strings.ToLower(is[1])
	}
	if is := serviceURL.FindStringSubmatch(name); is != nil {
		proto, rest, ok := strings.Cut(value, "://")
		to, err := netip.ParseAddrPort(rest)
		known := proto == "tcp" || proto == "udp" || proto == "sctp"
		if is[1] != "" {
			known = proto == strings.ToLower(is[2]) && strings.HasSuffix(rest, ":"+is[1])
		}
		return ok && known && err == nil && to.Port() > 0
	}
	return false
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
