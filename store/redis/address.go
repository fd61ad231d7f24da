package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	dialTimeout = 3 * time.Second // for a connection, TLS included
	ioTimeout   = 5 * time.Second // for an answer; a context may end earlier
	// connections for each node. Redis makes durable together what came in
	// over several connections, so more of them cost less each.
	connections = 64
	// reloadCluster is how old the map of a cluster may become. A node that
	// does not answer makes it be read anew at once.
	reloadCluster = 10 * time.Second
)

// address is a store's URL, taken apart. Errors about it never quote it.
type address struct {
	kind           string // "", "sentinel" or "cluster"
	tls            bool
	hosts          []string // host:port
	user, password string
	db             int
	tenant         string

	master                         string // of Sentinel
	sentinelUser, sentinelPassword string
	ca, cert, key                  string // files
	serverName                     string // that the certificates of all nodes are for; "" for the name or number each is called by
}

const defaultTenant = "default"

var tenantForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Address checks a store's URL and returns it without its secrets, to be
// shown to people. Its error tells what to write, and nothing of the URL.
func Address(rawURL string) (string, error) {
	a, err := parse(rawURL)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// String is the address without user, passwords and files.
func (a address) String() string {
	scheme := "redis"
	if a.tls {
		scheme = "rediss"
	}
	if a.kind != "" {
		scheme += "+" + a.kind
	}
	s := scheme + "://" + strings.Join(a.hosts, ",")
	if a.kind != "cluster" {
		s += "/" + strconv.Itoa(a.db)
	}
	q := url.Values{}
	if a.master != "" {
		q.Set("master", a.master)
	}
	if a.tenant != defaultTenant {
		q.Set("tenant", a.tenant)
	}
	if len(q) > 0 {
		s += "?" + q.Encode()
	}
	return s
}

// parse does by hand what net/url cannot do for several hosts, and without
// quoting a password that it could not read.
func parse(raw string) (address, error) {
	a := address{tenant: defaultTenant}
	scheme, rest, ok := strings.Cut(raw, "://")
	base, kind, _ := strings.Cut(scheme, "+")
	known := slices.Contains([]string{"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}, scheme)
	if !ok || !known {
		return a, errors.New("the address does not begin with redis://, rediss:// (with TLS), redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://")
	}
	a.kind, a.tls = kind, base == "rediss"
	if strings.Contains(rest, "#") {
		return a, errors.New("the address holds a #: in a name or a password write %23")
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, password, _ := strings.Cut(authority[:i], ":")
		authority = authority[i+1:]
		var err1, err2 error
		a.user, err1 = url.PathUnescape(user)
		a.password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil {
			return a, errors.New("the user or the password in the address has a % that is not followed by two hexadecimal digits: write %25 for %")
		}
	}
	return a, errors.Join(a.parseHosts(authority), a.parsePath(path), a.parseQuery(query))
}

func (a *address) parseHosts(list string) error {
	port := "6379"
	if a.kind == "sentinel" {
		port = "26379"
	}
	for host := range strings.SplitSeq(list, ",") {
		h, p, err := net.SplitHostPort(host)
		if err != nil {
			h, p, err = net.SplitHostPort(host + ":" + port)
		}
		n, portErr := strconv.ParseUint(p, 10, 16)
		if err != nil || portErr != nil || n == 0 || h == "" || strings.ContainsAny(h, " @/\\%") {
			return errors.New("the address does not name hosts as HOST:PORT, with commas between several; in a password write %40 for @, %2F for / and %3F for ?")
		}
		a.hosts = append(a.hosts, net.JoinHostPort(h, p))
	}
	if a.kind == "" && len(a.hosts) > 1 {
		return errors.New("the address names several hosts: begin it with redis+sentinel:// or redis+cluster://")
	}
	return nil
}

func (a *address) parsePath(path string) error {
	if path == "" {
		return nil
	}
	db, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return errors.New("what follows the host in the address is not the number of a database, as in /0; in a password write %2F for /")
	}
	if a.kind == "cluster" && db != 0 {
		return errors.New("a cluster has no databases: remove the number from the address")
	}
	a.db = int(db)
	return nil
}

func (a *address) parseQuery(query string) error {
	q, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what follows the ? in the address cannot be read")
	}
	sentinel := map[string]*string{"master": &a.master, "sentinel_user": &a.sentinelUser, "sentinel_password": &a.sentinelPassword}
	ofTLS := map[string]*string{"ca": &a.ca, "cert": &a.cert, "key": &a.key, "server_name": &a.serverName}
	var errs []error
	for name, values := range q {
		field := &a.tenant
		switch {
		case len(values) != 1 || values[0] == "":
			errs = append(errs, errors.New("a parameter of the address is empty, or there twice"))
			continue
		case name == "tenant":
		case a.kind == "sentinel" && sentinel[name] != nil:
			field = sentinel[name]
		case a.tls && ofTLS[name] != nil:
			field = ofTLS[name]
		default:
			// Its name could be the end of a password.
			errs = append(errs, errors.New("the address has a parameter that is not known here: there are tenant; master, sentinel_user and sentinel_password for Sentinel; ca, cert, key and server_name for TLS"))
			continue
		}
		*field = values[0]
	}
	if !tenantForm.MatchString(a.tenant) {
		errs = append(errs, errors.New("the tenant in the address is not made of letters, digits, dots, dashes and underscores"))
	}
	if a.kind == "sentinel" && a.master == "" {
		errs = append(errs, errors.New("the address lacks the name of the master that Sentinel watches: add ?master=NAME"))
	}
	if (a.cert == "") != (a.key == "") {
		errs = append(errs, errors.New("cert and key in the address belong together: write both or neither"))
	}
	return errors.Join(errs...)
}

// client makes the client, which asks for user and password with each
// connection. It does not connect yet.
func (a address) client(login func() (user, password string)) (goredis.UniversalClient, error) {
	secured, err := a.secured()
	if err != nil {
		return nil, err
	}
	switch a.kind {
	case "sentinel":
		return goredis.NewFailoverClient(&goredis.FailoverOptions{
			MasterName: a.master, SentinelAddrs: a.hosts, SentinelUsername: a.sentinelUser, SentinelPassword: a.sentinelPassword,
			CredentialsProvider: login, DB: a.db, TLSConfig: secured,
			MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
			ContextTimeoutEnabled: true, PoolSize: connections, DisableIdentity: true,
		}), nil
	case "cluster":
		return goredis.NewClusterClient(&goredis.ClusterOptions{
			Addrs: a.hosts, CredentialsProvider: login, TLSConfig: secured,
			MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
			ContextTimeoutEnabled: true, PoolSize: connections, DisableIdentity: true,
			DisableRoutingPolicies: true, ClusterStateReloadInterval: reloadCluster,
			MaintNotificationsConfig: noNotifications(),
			NewClient: func(o *goredis.Options) *goredis.Client {
				c := goredis.NewClient(o)
				c.AddHook(sendOnce{})
				return c
			},
		}), nil
	}
	return goredis.NewClient(&goredis.Options{
		Addr: a.hosts[0], CredentialsProvider: login, DB: a.db, TLSConfig: secured,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		ContextTimeoutEnabled: true, PoolSize: connections, DisableIdentity: true,
		MaintNotificationsConfig: noNotifications(),
	}), nil
}

func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// secured is the settings for TLS, nil without.
func (a address) secured() (*tls.Config, error) {
	if !a.tls {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.serverName}
	if a.ca != "" {
		pem, err := os.ReadFile(a.ca)
		if err != nil {
			return nil, fmt.Errorf("read the file that ca names: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", a.ca)
		}
	}
	if a.cert != "" {
		pair, err := tls.LoadX509KeyPair(a.cert, a.key)
		if err != nil {
			return nil, fmt.Errorf("load the files that cert and key name: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			// The files may have been renewed.
			if now, err := tls.LoadX509KeyPair(a.cert, a.key); err == nil {
				return &now, nil
			}
			return &pair, nil
		}
	}
	return config, nil
}
