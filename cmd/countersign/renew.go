package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/epm"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
)

const (
	// renewEvery is how often the files of secrets are read again. What has
	// changed is used when it was the same twice: it may be half written.
	renewEvery = 2 * time.Second
	// tryAgain is when a value that was refused is tried again.
	tryAgain = 30 * time.Second
	// tryTimeout is for one try.
	tryTimeout = 20 * time.Second
)

// renewable is what can change while the program runs.
type renewable struct {
	names []string // variables that count together
	// try asks the neighbour whether it takes the values of env; nil if that
	// cannot be asked.
	try func(ctx context.Context, env *environment) error
}

// renewables are the secrets of the parts of a program.
func renewables(keep store.Store, client *epm.Client, chats chats) []renewable {
	list := []renewable{
		{names: []string{"WEBHOOK_PASSWORD", "WEBHOOK_PASSWORD_PREVIOUS"}},
		{names: []string{"EVENTS_WEBHOOK", "EVENTS_WEBHOOK_SECRET", "EVENTS_WEBHOOK_SECRET_PREVIOUS"}},
		{names: []string{"EPM_CLIENT_SECRET"}, try: func(ctx context.Context, env *environment) error {
			return client.Try(ctx, env.EPMClientSecret.Reveal())
		}},
	}
	if s, ok := keep.(*redis.Store); ok {
		list = append(list, renewable{names: []string{"STORE"}, try: func(ctx context.Context, env *environment) error {
			return s.Try(ctx, env.Store.Reveal())
		}})
	}
	if chat := chats.slack; chat != nil {
		list = append(list,
			renewable{names: []string{"SLACK_SIGNING_SECRET", "SLACK_SIGNING_SECRET_PREVIOUS"}},
			renewable{names: []string{"SLACK_BOT_TOKEN"}, try: func(ctx context.Context, env *environment) error {
				return chat.Try(ctx, slack.Secrets{BotToken: env.SlackBotToken.Reveal()})
			}},
			renewable{names: []string{"SLACK_APP_TOKEN"}, try: func(ctx context.Context, env *environment) error {
				return chat.Try(ctx, slack.Secrets{AppToken: env.SlackAppToken.Reveal()})
			}})
	}
	if chat := chats.discord; chat != nil {
		list = append(list, renewable{names: []string{"DISCORD_BOT_TOKEN"}, try: func(ctx context.Context, env *environment) error {
			return chat.Try(ctx, env.DiscordBotToken.Reveal())
		}})
	}
	return list
}

// renewer brings secrets whose files were changed into use. A value that is
// wrong is told by name, and the one before stays.
type renewer struct {
	read        func() (environment, []finding)
	inUse       *atomic.Pointer[environment]
	list        []renewable
	certificate *certificate // nil without TLS
	renewed     func()       // called after what is in use has changed
	log         *slog.Logger

	last    environment        // as it was read the last time
	refused map[string]refusal // by the first name
	told    map[string]string  // by name
}

// refusal is values that were refused.
type refusal struct {
	values []secret
	until  time.Time // not to be tried again before
}

// run looks until ctx ends: now and then, and at once when hangup says that
// everything is written.
func (r *renewer) run(ctx context.Context, every time.Duration, hangup <-chan os.Signal) {
	r.last, r.refused, r.told = *r.inUse.Load(), map[string]refusal{}, map[string]string{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.look(ctx, false)
		case <-hangup:
			r.log.Info("hangup: the files of secrets are read again")
			r.look(ctx, true)
		}
	}
}

// look reads everything once. whole says that nobody is writing at present.
func (r *renewer) look(ctx context.Context, whole bool) {
	env, findings := r.read()
	unread := map[string]string{}
	for _, f := range findings {
		unread[strings.TrimSuffix(f.name, "_FILE")] = f.say
	}
	var known []string
	for _, one := range r.list {
		known = append(known, one.names...)
		r.renew(ctx, one, &env, unread, whole)
	}
	for _, name := range secretNames() {
		if slices.Contains(known, name) {
			continue
		}
		if unread[name] == "" && *secretOf(&env, name) != *secretOf(r.inUse.Load(), name) {
			r.tell(name, "it takes effect when the program is started again")
		}
	}
	if r.certificate != nil {
		r.certificate.renew(whole, r.log, r.tell)
	}
	r.last = env
}

func (r *renewer) renew(ctx context.Context, one renewable, env *environment, unread map[string]string, whole bool) {
	next := *r.inUse.Load()
	var values []secret
	changed, settled := false, true
	for _, name := range one.names {
		if say := unread[name]; say != "" {
			r.tell(name, say)
			return
		}
		now, to := secretOf(env, name), secretOf(&next, name)
		changed = changed || *now != *to
		settled = settled && *now == *secretOf(&r.last, name)
		values = append(values, *now)
		*to = *now
	}
	first := one.names[0]
	switch was := r.refused[first]; {
	case !changed:
		delete(r.refused, first)
		for _, name := range one.names {
			delete(r.told, name)
		}
		return
	case !settled && !whole, slices.Equal(was.values, values) && time.Now().Before(was.until) && !whole:
		return
	}
	if name, err := r.try(ctx, one, &next); err != nil {
		if ctx.Err() == nil {
			r.refused[first] = refusal{values, time.Now().Add(tryAgain)}
			r.tell(name, err.Error())
		}
		return
	}
	r.inUse.Store(&next)
	for _, name := range one.names {
		delete(r.told, name)
	}
	delete(r.refused, first)
	r.log.Info("a secret has changed", "variable", envPrefix+"_"+first)
	for _, f := range next.short() {
		if slices.Contains(one.names, f.name) {
			r.log.Warn("a secret is too short", "variable", envPrefix+"_"+f.name, "err", f.say)
		}
	}
	r.renewed()
}

// try says what is wrong with the values of one in next, and with which.
func (r *renewer) try(ctx context.Context, one renewable, next *environment) (name string, _ error) {
	before := r.inUse.Load()
	for _, name := range one.names {
		// What the program is made of does not change while it runs.
		is, was := *secretOf(next, name), *secretOf(before, name)
		if (is == "") != (was == "") && !strings.HasSuffix(name, "_PREVIOUS") {
			return name, errors.New("a secret that is new, or gone, takes effect when the program is started again")
		}
	}
	var wrong configError
	if _, err := next.check(nil); errors.As(err, &wrong) {
		for _, f := range wrong {
			if slices.Contains(one.names, f.name) {
				return f.name, errors.New(f.say)
			}
		}
	}
	if one.try == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return one.names[0], one.try(ctx, next)
}

// tell says once why a new value is not used.
func (r *renewer) tell(name, why string) {
	if r.told[name] == why {
		return
	}
	r.told[name] = why
	r.log.Error("a secret has changed and is not used, the one before is", "variable", envPrefix+"_"+name, "err", why)
}

// secretNames are the names of the variables that are secrets.
func secretNames() []string {
	var names []string
	for f := range fields() {
		if f.Type == reflect.TypeFor[secret]() {
			names = append(names, f.Tag.Get("envconfig"))
		}
	}
	return names
}

// secretOf is the secret of env that has this name.
func secretOf(env *environment, name string) *secret {
	for f := range fields() {
		if f.Tag.Get("envconfig") == name {
			return reflect.ValueOf(env).Elem().FieldByIndex(f.Index).Addr().Interface().(*secret)
		}
	}
	panic("no such secret: " + name)
}

// certificate is the one for TLS, of two files that may be renewed.
type certificate struct {
	certFile, keyFile string
	now               func() time.Time

	inUse     atomic.Pointer[tls.Certificate]
	used, saw [sha256.Size]byte // of the files: those in use, and as they were last seen
}

// loadCertificate reads the certificate that the program is started with.
func loadCertificate(certFile, keyFile string, now func() time.Time) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, now: now}
	pair, sum, err := c.load()
	if err != nil {
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	c.inUse.Store(&pair)
	c.used, c.saw = sum, sum
	return c, nil
}

func (c *certificate) load() (pair tls.Certificate, sum [sha256.Size]byte, err error) {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return pair, sum, fmt.Errorf("the file of %s_TLS_CERT: %w", envPrefix, withoutPath(err))
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return pair, sum, fmt.Errorf("the file of %s_TLS_KEY: %w", envPrefix, withoutPath(err))
	}
	sum = sha256.Sum256(slices.Concat(cert, []byte{0}, key))
	pair, err = tls.X509KeyPair(cert, key)
	return pair, sum, err
}

// get is for [tls.Config.GetCertificate].
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.inUse.Load(), nil }

// renew takes a certificate that was renewed into use.
func (c *certificate) renew(whole bool, log *slog.Logger, tell func(name, why string)) {
	pair, sum, err := c.load()
	settled := whole || sum == c.saw
	c.saw = sum
	switch {
	case err == nil && sum == c.used, !settled:
		return
	case err == nil && c.now().After(pair.Leaf.NotAfter):
		err = errors.New("the certificate has expired")
	}
	if err != nil {
		tell("TLS_CERT", err.Error())
		return
	}
	c.inUse.Store(&pair)
	c.used = sum
	log.Info("the certificate has changed", "until", pair.Leaf.NotAfter)
}

// withoutPath is err without the name of the file that it is about: somebody
// may have written a key where its path belongs.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
