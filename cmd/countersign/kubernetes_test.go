package main

import (
	"maps"
	"strings"
	"testing"
)

// TestKubernetesServiceVariables: what Kubernetes tells of services whose
// names begin with ours is passed over; what only looks like it is refused.
func TestKubernetesServiceVariables(t *testing.T) {
	link := func(name, host, port, proto string) map[string]string {
		at := host + ":" + port
		if strings.Contains(host, ":") {
			at = "[" + host + "]:" + port
		}
		url := strings.ToLower(proto) + "://" + at
		numbered := name + "PORT_" + port + "_" + proto
		return map[string]string{
			name + "SERVICE_HOST": host, name + "SERVICE_PORT": port, name + "SERVICE_PORT_HTTP": port, name + "SERVICE_PORT_HTTP_METRICS": port,
			name + "PORT": url, numbered: url, numbered + "_PROTO": strings.ToLower(proto), numbered + "_PORT": port, numbered + "_ADDR": host,
		}
	}
	for name, set := range map[string]map[string]string{
		"OfTheRelease":    link("", "10.96.12.34", "80", "TCP"),
		"IPv6":            link("", "fd00:10:96::1f", "443", "TCP"),
		"OfAnotherName":   link("PROD_EU_2_", "10.96.12.34", "443", "TCP"),
		"OfItsRedis":      link("REDIS_", "10.96.0.9", "6379", "TCP"),
		"OfAnotherProto":  link("SYSLOG_", "10.96.0.9", "514", "UDP"),
		"OfAThirdProto":   link("X_", "10.96.0.9", "514", "SCTP"),
		"NamedLikeOurOwn": link("SLACK_CHANNEL_", "10.96.0.9", "80", "TCP"),
	} {
		t.Run(name, func(t *testing.T) {
			vars := complete()
			maps.Copy(vars, set)
			setenv(t, vars)
			env, findings := readEnvironment()
			if _, err := env.check(findings); err != nil {
				t.Error(err)
			}
		})
	}
	for name, value := range map[string]string{
		"PORT": "8080", "PORT_80_TCP": "8080", "PORT_80_TCP_PROTO": "udp", "PORT_80_TCP_PORT": "http", "PORT_80_TCP_ADDR": "countersign", "PORT_80_HTTP": "tcp://10.96.12.34:80",
		"PORT_443_TCP": "tcp://10.96.12.34:80", "PORTS": "tcp://10.96.12.34:80", "SERVICE_HOST": "countersign.example.com", "SERVICE_HOSTS": "10.96.12.34",
		"SERVICE_PORT": ":8080", "SERVICE_PORT_": "80", "SERVICE_PORTHTTP": "80", "SERVICE_NAME": "10.96.12.34", "XPORT": "tcp://10.96.12.34:80", "SLACK_CHANEL": "C0123ABC",
		"WEBHOOK_PASWORD": "10.96.12.34", "LISTEN_PORT": "8080", "REDIS_HOST": "10.96.12.34", "SETTINGS_SERVICE_HOST": "redis", "TLS_PORT": "tcp:10.96.12.34:80", "EPM_PORT": "https://10.96.12.34:80",
	} {
		t.Run(name, func(t *testing.T) {
			vars := complete()
			vars[name] = value
			setenv(t, vars)
			env, findings := readEnvironment()
			if _, err := env.check(findings); err == nil || !strings.Contains(err.Error(), "COUNTERSIGN_"+name+": ") {
				t.Errorf("%s=%s is not refused: %v", name, value, err)
			}
		})
	}
}
