package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/bot/reports"
	"github.com/countersign/countersign/bot/retention"
	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/tickets"
)

const envPrefix = "COUNTERSIGN"

// environment is the configuration as it was written: text only, because
// envconfig quotes the value of a variable that it cannot parse, which may
// be a secret. Its tags are the one list of variables.
type environment struct {
	Listen    string `envconfig:"LISTEN" default:":8080"`
	OpsListen string `envconfig:"OPS_LISTEN"`
	TLSCert   string `envconfig:"TLS_CERT"`
	TLSKey    string `envconfig:"TLS_KEY"`
	PublicURL string `envconfig:"PUBLIC_URL"`
	Store     secret `envconfig:"STORE" default:"sqlite:countersign.db"` // a Redis URL may hold a password

	WebhookUser             string `envconfig:"WEBHOOK_USER"`
	WebhookPassword         secret `envconfig:"WEBHOOK_PASSWORD"`
	WebhookPasswordPrevious secret `envconfig:"WEBHOOK_PASSWORD_PREVIOUS"`
	WebhookAllow            string `envconfig:"WEBHOOK_ALLOW"`
	TrustedProxies          string `envconfig:"TRUSTED_PROXIES"`

	EPMHost              string `envconfig:"EPM_HOST"`
	EPMClientID          string `envconfig:"EPM_CLIENT_ID"`
	EPMClientSecret      secret `envconfig:"EPM_CLIENT_SECRET"`
	EPMTenantID          string `envconfig:"EPM_TENANT_ID"`
	EPMDayFirst          string `envconfig:"EPM_DAY_FIRST" default:"false"`
	EPMAppDecisionPath   string `envconfig:"EPM_APP_DECISION_PATH"`
	EPMAdminDecisionPath string `envconfig:"EPM_ADMIN_DECISION_PATH"`

	SlackBotToken              secret `envconfig:"SLACK_BOT_TOKEN"`
	SlackSigningSecret         secret `envconfig:"SLACK_SIGNING_SECRET"`
	SlackSigningSecretPrevious secret `envconfig:"SLACK_SIGNING_SECRET_PREVIOUS"`
	SlackAppToken              secret `envconfig:"SLACK_APP_TOKEN"`
	SlackChannel               string `envconfig:"SLACK_CHANNEL"`
	SlackAPIURL                string `envconfig:"SLACK_API_URL" default:"https://slack.com/api/"`

	DiscordBotToken      secret `envconfig:"DISCORD_BOT_TOKEN"`
	DiscordApplicationID string `envconfig:"DISCORD_APPLICATION_ID"`
	DiscordPublicKey     string `envconfig:"DISCORD_PUBLIC_KEY"`
	DiscordGuild         string `envconfig:"DISCORD_GUILD"`
	DiscordChannel       string `envconfig:"DISCORD_CHANNEL"`
	DiscordMode          string `envconfig:"DISCORD_MODE" default:"gateway"`
	DiscordAPIURL        string `envconfig:"DISCORD_API_URL" default:"https://discord.com"`

	EventsSyslog                string `envconfig:"EVENTS_SYSLOG"`
	EventsSyslogCA              string `envconfig:"EVENTS_SYSLOG_CA"`   // a file
	EventsSyslogCert            string `envconfig:"EVENTS_SYSLOG_CERT"` // a file
	EventsSyslogKey             string `envconfig:"EVENTS_SYSLOG_KEY"`  // a file
	EventsWebhook               secret `envconfig:"EVENTS_WEBHOOK"`     // its path may be one
	EventsWebhookSecret         secret `envconfig:"EVENTS_WEBHOOK_SECRET"`
	EventsWebhookSecretPrevious secret `envconfig:"EVENTS_WEBHOOK_SECRET_PREVIOUS"`
	EventsFile                  string `envconfig:"EVENTS_FILE"`

	Admins    string `envconfig:"ADMINS"`
	Approvers string `envconfig:"APPROVERS"`

	SettingsTicketTypes      string `envconfig:"SETTINGS_TICKET_TYPES"` // a file
	SettingsTicketType       string `envconfig:"SETTINGS_TICKET_TYPE"`
	SettingsActiveStates     string `envconfig:"SETTINGS_ACTIVE_STATES"`
	SettingsShortDescription string `envconfig:"SETTINGS_SHORT_DESCRIPTION" default:"EPM JIT Access Request"`
	SettingsAssignmentGroup  string `envconfig:"SETTINGS_ASSIGNMENT_GROUP"`
	SettingsCategory         string `envconfig:"SETTINGS_CATEGORY"`
	SettingsAutoClose        string `envconfig:"SETTINGS_AUTO_CLOSE" default:"false"`
	SettingsFields           string `envconfig:"SETTINGS_FIELDS"`
	SettingsSelfApproval     string `envconfig:"SETTINGS_SELF_APPROVAL" default:"deny"`

	KeepTickets        string `envconfig:"KEEP_TICKETS"`
	KeepIncoming       string `envconfig:"KEEP_INCOMING" default:"30d"`
	KeepIncomingFailed string `envconfig:"KEEP_INCOMING_FAILED" default:"90d"`

	AuditCheckpoints secret `envconfig:"AUDIT_CHECKPOINTS"` // a file, or an address, which may hold a secret

	LogLevel  string `envconfig:"LOG_LEVEL" default:"info"`
	LogFormat string `envconfig:"LOG_FORMAT" default:"json"`
}

// finding is something wrong with the configuration: which variable, and
// what to do. It never holds the variable's value.
type finding struct{ name, say string }

func (f finding) String() string { return f.variable() + ": " + f.say }

// variable is its whole name. TZ is everybody's, and has no prefix.
func (f finding) variable() string {
	if f.name == "TZ" {
		return f.name
	}
	return envPrefix + "_" + f.name
}

// configError is every finding at once.
type configError []finding

func (e configError) Error() string {
	lines := []string{"the configuration is not complete:"}
	for _, f := range e {
		lines = append(lines, "  "+f.String())
	}
	return strings.Join(lines, "\n")
}

// readEnvironment reads the process's environment, and the files that
// …_FILE variables name.
func readEnvironment() (environment, []finding) {
	var env environment
	if err := envconfig.Process(envPrefix, &env); err != nil {
		// Not possible while every field is text; the error could quote a value.
		return env, []finding{{"", "cannot read the environment"}}
	}
	var findings []finding
	known := map[string]bool{}
	v := reflect.ValueOf(&env).Elem()
	for f := range fields() {
		name := f.Tag.Get("envconfig")
		known[name] = true
		if f.Type != reflect.TypeFor[secret]() {
			continue
		}
		known[name+"_FILE"] = true
		path := os.Getenv(envPrefix + "_" + name + "_FILE")
		if path == "" {
			continue
		}
		if _, twice := os.LookupEnv(envPrefix + "_" + name); twice {
			findings = append(findings, finding{name, "is set, and so is " + envPrefix + "_" + name + "_FILE: set one of them"})
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			findings = append(findings, finding{name + "_FILE", "the file cannot be read; check its path and permissions"})
			continue
		}
		v.FieldByIndex(f.Index).SetString(strings.TrimRight(string(b), "\r\n"))
	}
	if err := checkZone(os.Getenv("TZ")); err != nil {
		findings = append(findings, finding{"TZ", err.Error()})
	}
	return env, append(findings, unknown(os.Environ(), known)...)
}

// checkZone says what is wrong with the value of TZ: what Go does not know it
// takes for UTC, without a word.
func checkZone(tz string) error {
	name := strings.TrimPrefix(tz, ":")
	if name == "" {
		return nil
	}
	if strings.HasPrefix(name, "/") {
		if b, err := os.ReadFile(name); err == nil {
			if _, err := time.LoadLocationFromTZData(name, b); err == nil {
				return nil
			}
		}
	} else if _, err := time.LoadLocation(name); err == nil {
		return nil
	}
	return errors.New("is no time zone that is known here, and would be UTC: write a name like Europe/Berlin")
}

// variables lists the names of all variables, without the prefix.
func variables() []string {
	var names []string
	for f := range fields() {
		names = append(names, f.Tag.Get("envconfig"))
	}
	return names
}

// fields are the fields of environment.
func fields() iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		t := reflect.TypeFor[environment]()
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// unknown finds variables with our prefix that are none of ours: a
// misspelled name must not be silently without effect.
func unknown(environ []string, known map[string]bool) []finding {
	var findings []finding
	for _, kv := range environ {
		kv, marked := strings.CutPrefix(kv, "\ufeff")
		name, ours := strings.CutPrefix(kv, envPrefix+"_")
		name, value, _ := strings.Cut(name, "=")
		switch {
		case ours && marked:
			findings = append(findings, finding{name, "its name begins with a byte-order mark, so that it is another: save the file of variables as UTF-8 without one"})
		case !ours || known[name] || serviceVariable(name, value):
		case strings.HasPrefix(name, "SETTINGS_"):
			findings = append(findings, finding{name, "this version does not know this setting: remove it"})
		default:
			findings = append(findings, finding{name, "there is no such variable: check its spelling, or remove it"})
		}
	}
	slices.SortFunc(findings, func(a, b finding) int { return cmp.Compare(a.name, b.name) })
	return findings
}

// config is the environment, checked.
type config struct {
	environment
	now          func() *environment // at present: secrets may have changed since
	storePath    string              // of SQLite; empty with storeURL
	storeURL     secret              // of Redis; empty with storePath
	webhookAllow []netip.Prefix
	proxies      []netip.Prefix
	publicURL    string            // without a slash at its end; empty if not set
	settings     map[string]string // that the program is started with, by key
	world        settings.Registry // what settings may name
	start        settings.Settings // the same, read
	logLevel     slog.Level
	keep         retention.Ages
}

// unchecked is the configuration of env that needs no check.
func (env environment) unchecked() config {
	return config{environment: env, now: func() *environment { return &env }}
}

// checker collects findings.
type checker struct{ findings []finding }

func (c *checker) add(name, format string, args ...any) {
	c.findings = append(c.findings, finding{name, fmt.Sprintf(format, args...)})
}

func (c *checker) need(name, value, why string) {
	if strings.TrimSpace(value) == "" {
		c.add(name, "is missing: %s", why)
	}
}

// check makes the configuration of env, or returns a configError with
// everything that is wrong, earlier findings included.
func (env environment) check(earlier []finding) (config, error) {
	c := checker{findings: earlier}
	cfg := env.unchecked()
	written := env.written()

	if _, _, err := net.SplitHostPort(env.Listen); err != nil {
		c.add("LISTEN", "write an address and a port, for example :8080 or 127.0.0.1:8080")
	}
	if _, _, err := net.SplitHostPort(env.OpsListen); err != nil && env.OpsListen != "" {
		c.add("OPS_LISTEN", "write an address and a port, for example :9090 or 127.0.0.1:9090, or remove it")
	} else if _, port, _ := net.SplitHostPort(env.OpsListen); env.OpsListen == env.Listen && port != "0" {
		c.add("OPS_LISTEN", "must be another address than LISTEN, which is for EPM, the chats and people")
	}
	if (env.TLSCert == "") != (env.TLSKey == "") {
		c.add("TLS_CERT", "TLS_CERT and TLS_KEY belong together: set both or neither")
	}
	cfg.publicURL = c.httpURL("PUBLIC_URL", env.PublicURL)
	cfg.storePath, cfg.storeURL = c.store(env.Store)

	c.need("WEBHOOK_USER", env.WebhookUser, "the user name that EPM's webhooks send by Basic authentication")
	c.need("WEBHOOK_PASSWORD", env.WebhookPassword.Reveal(), "the password that EPM's webhooks send by Basic authentication")
	if strings.Contains(env.WebhookUser, ":") {
		c.add("WEBHOOK_USER", "must not contain a colon: Basic authentication ends the name there")
	}
	cfg.webhookAllow = c.prefixes("WEBHOOK_ALLOW", env.WebhookAllow)
	cfg.proxies = c.prefixes("TRUSTED_PROXIES", env.TrustedProxies)

	c.need("EPM_HOST", env.EPMHost, "EPM's services host, for example acme-services.beyondtrustcloud.com")
	c.need("EPM_CLIENT_ID", env.EPMClientID, "the client ID of EPM's API account (JIT: Full Access)")
	c.need("EPM_CLIENT_SECRET", env.EPMClientSecret.Reveal(), "the client secret of EPM's API account")

	c.chats(env)
	c.receivers(env)
	cfg.settings, cfg.world, cfg.start = c.settings(env)

	cfg.keep = c.keep(env)
	if checkpointsPlace(env.AuditCheckpoints) == "wrong" {
		c.add("AUDIT_CHECKPOINTS", "write the path of a file, or an address that begins with https://")
	}
	if err := cfg.logLevel.UnmarshalText([]byte(env.LogLevel)); err != nil {
		c.add("LOG_LEVEL", "write debug, info, warn or error")
	}
	switch env.EPMDayFirst {
	case "", "true", "false":
	default:
		c.add("EPM_DAY_FIRST", "write true or false")
	}
	if env.LogFormat != "json" && env.LogFormat != "text" {
		c.add("LOG_FORMAT", "write json or text")
	}
	// What else is found about a value that was not written right comes of that.
	c.findings = append(slices.DeleteFunc(c.findings, func(f finding) bool {
		return slices.ContainsFunc(written, func(w finding) bool { return w.name == f.name })
	}), written...)
	if len(c.findings) > 0 {
		return config{}, configError(c.findings)
	}
	return cfg, nil
}

// keep reads how long what is kept.
func (c *checker) keep(env environment) retention.Ages {
	const day = 24 * time.Hour
	span := func(name, value string, least time.Duration) time.Duration {
		if value == "" {
			return 0
		}
		d, err := reports.ParseSpan(value)
		if err != nil || d < least {
			c.add(name, "write days or weeks, for example 90d or 52w, and at least %dd", least/day)
		}
		return d
	}
	ages := retention.Ages{
		// EPM may tell of a request for a while after its end.
		Tickets: span("KEEP_TICKETS", env.KeepTickets, 30*day),
		Applied: span("KEEP_INCOMING", env.KeepIncoming, day),
		Failed:  span("KEEP_INCOMING_FAILED", env.KeepIncomingFailed, day),
	}
	if failed := cmp.Or(ages.Failed, retention.KeepFailed); ages.Tickets >= 30*day && ages.Tickets < failed {
		c.add("KEEP_TICKETS", "must be at least KEEP_INCOMING_FAILED, which is %dd: a webhook that is replayed after its ticket is gone would begin another", failed/day)
	}
	return ages
}

// httpURL checks a base address and takes the slash off its end.
func (c *checker) httpURL(name, value string) string {
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		c.add(name, "write an address like https://countersign.example.com")
		return ""
	}
	return strings.TrimRight(value, "/")
}

// store is the path of a SQLite file, or the address of a Redis.
func (c *checker) store(value secret) (path string, url secret) {
	path, url, err := storeAddress(value)
	if err != nil {
		c.add("STORE", "%v", err)
	}
	return path, url
}

// storeAddress is the path of a SQLite file, or the address of a Redis. Its
// error says what to write, and nothing of value.
func storeAddress(value secret) (path string, url secret, err error) {
	kind, path, _ := strings.Cut(value.Reveal(), ":")
	switch {
	case kind == "sqlite" && path != "":
		return path, "", nil
	case strings.HasPrefix(kind, "redis"):
		if _, err := redis.Address(value.Reveal()); err != nil {
			return "", "", errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		return "", value, nil
	}
	return "", "", errors.New("write sqlite:PATH, for example sqlite:/var/lib/countersign/countersign.db, or the address of a Redis, for example redis://HOST:6379")
}

func (c *checker) prefixes(name, value string) []netip.Prefix {
	var list []netip.Prefix
	if value != "" && len(items(value)) == 0 {
		c.add(name, "is set and names no network: remove it to allow all, or write a comma list like 192.0.2.0/24")
	}
	for i, s := range items(value) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(s); err == nil {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil {
			c.add(name, "item %d is not a network: write a comma list like 192.0.2.0/24, 2001:db8::/32", i+1)
			continue
		}
		list = append(list, p.Masked())
	}
	return list
}

// settings are the settings that env begins with, as text and read, and what
// settings may name.
func (c *checker) settings(env environment) (map[string]string, settings.Registry, settings.Settings) {
	world := settings.Registry{Types: c.types(env.SettingsTicketTypes), Principal: env.principal, Place: env.place}
	variables := map[string]string{
		tickets.KeyTicketType: "SETTINGS_TICKET_TYPE", tickets.KeyActiveStates: "SETTINGS_ACTIVE_STATES",
		tickets.KeyShortDescription: "SETTINGS_SHORT_DESCRIPTION", tickets.KeyAssignmentGroup: "SETTINGS_ASSIGNMENT_GROUP",
		tickets.KeyCategory: "SETTINGS_CATEGORY", tickets.KeyAutoClose: "SETTINGS_AUTO_CLOSE", tickets.KeyFields: "SETTINGS_FIELDS",
		tickets.KeySelfApproval: "SETTINGS_SELF_APPROVAL", tickets.KeyApprovers: "APPROVERS", tickets.KeyAdmins: "ADMINS",
	}
	values := map[string]string{
		tickets.KeyTicketType: env.SettingsTicketType, tickets.KeyActiveStates: env.SettingsActiveStates,
		tickets.KeyShortDescription: env.SettingsShortDescription, tickets.KeyAssignmentGroup: env.SettingsAssignmentGroup,
		tickets.KeyCategory: env.SettingsCategory, tickets.KeyAutoClose: env.SettingsAutoClose, tickets.KeyFields: env.SettingsFields,
		tickets.KeySelfApproval: env.SettingsSelfApproval, tickets.KeyApprovers: env.Approvers, tickets.KeyAdmins: env.Admins,
	}
	var channels []string
	for _, p := range []tickets.Place{{Platform: slack.Platform, Channel: env.SlackChannel}, {Platform: discord.Platform, Channel: env.DiscordChannel}} {
		if env.place(p) == nil { // what is wrong with it has been found already
			channels = append(channels, p.String())
		}
	}
	if len(channels) > 0 {
		values[tickets.KeyChannels] = strings.Join(channels, ",")
	}
	start, problems := settings.Read(values, world)
	for _, key := range tickets.SettingKeys() {
		if err := problems[key]; err != nil {
			c.add(variables[key], "%s", err)
		}
	}
	return values, world, start
}

// types are the built-in ticket types and those of the file at path.
func (c *checker) types(path string) []tickets.Type {
	builtIn := tickets.Types()
	if path == "" {
		return builtIn
	}
	b, err := os.ReadFile(path)
	if err != nil {
		c.add("SETTINGS_TICKET_TYPES", "the file cannot be read; check its path and permissions")
		return builtIn
	}
	custom, err := tickets.ParseTypes(b)
	if err != nil {
		c.add("SETTINGS_TICKET_TYPES", "%s", err)
		return builtIn
	}
	return append(builtIn, custom...)
}

// items splits a comma list.
func items(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// unreachableAdmins says that nobody can be told when something needs an
// admin, or "": a Discord role and a Slack channel cannot be written to.
func unreachableAdmins(s *settings.Settings) string {
	for _, p := range s.Admins {
		if p.Kind == tickets.User || p.Kind == tickets.Group {
			return ""
		}
	}
	return "no admin can be told when a channel cannot be used any more: name at least one person in " + envPrefix + "_ADMINS"
}
