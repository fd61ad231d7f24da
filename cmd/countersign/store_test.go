package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/store/storetest"
)

// ran runs a command and returns what it printed and its error.
func ran(t testing.TB, args ...string) (out, side string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err = run(t.Context(), args, Env{Stdout: &stdout, Stderr: &stderr, Now: time.Now})
	return stdout.String(), stderr.String(), err
}

// moved copies the program's store to another, and goes on with that.
func (s *story) moved(to string) {
	s.Helper()
	out, side, err := ran(s, "store", "copy", s.env.Store.Reveal(), to)
	if err != nil || !strings.Contains(out, "Copied ") || strings.Contains(out+side, redistest.Password) {
		s.Fatalf("copy = %v\n%s%s", err, out, side)
	}
	s.env.Store = secret(to)
}

// A bot on SQLite has a decision that EPM has not got and a ticket that nobody
// has decided. It goes on with Redis, and then back.
func TestStoryStoreCopy(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	s := tell(t)
	file := s.env.Store.Reveal()
	approve := func(card slacktest.Message) {
		t.Helper()
		p := s.slack.Person("U01ANN")
		if err := p.Click(t.Context(), channel, card.TS, "approve"); err != nil {
			t.Fatal(err)
		}
		s.eventually("a form", func() bool { _, open := p.View(); return open })
		if problems := s.submits("U01ANN", hours2); len(problems) > 0 {
			t.Fatalf("problems = %v", problems)
		}
	}
	request := func(number string) (*epmtest.Request, slacktest.Message) {
		t.Helper()
		before := len(s.cards())
		r := s.epm.RequestAppQuietly(epmtest.App{})
		if a := s.delivers(s.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})); a.Ticket != number || a.Status != "created" {
			t.Fatalf("webhook = %+v, want %s created", a, number)
		}
		var card slacktest.Message
		s.eventually("a card of "+number, func() bool {
			for _, c := range s.cards() {
				if strings.Contains(c.Text, number) {
					card = c
					return len(s.cards()) == before+1
				}
			}
			return false
		})
		return r, card
	}

	decided, card := request("JIT-1001")
	s.epm.SetDown(true)
	approve(card)
	s.shows("EPM does not answer")
	pending, second := request("JIT-1002")
	if _, _, err := ran(t, "store", "copy", file, srv.URL("story")); err == nil || !strings.Contains(err.Error(), "stop the bot first") {
		t.Errorf("copy while the bot runs = %v, want it to say: stop the bot first", err)
	}
	s.stop()

	s.moved(srv.URL("story"))
	s.epm.SetDown(false)
	s.start()
	s.inEffect(decided.ID, "Approved", "7200")
	approve(second)
	s.inEffect(pending.ID, "Approved", "7200")
	if a := s.delivers(s.epm.Body(epmtest.AppCreated, pending, epmtest.BodyOptions{})); a.Ticket != "JIT-1002" || a.Status != "duplicate" {
		t.Errorf("a webhook that comes again = %+v, want a duplicate of JIT-1002", a)
	}
	third, card3 := request("JIT-1003")
	s.stop()

	s.moved(file)
	s.start()
	approve(card3)
	s.inEffect(third.ID, "Approved", "7200")
	request("JIT-1004")
	if n := len(s.cards()); n != 4 {
		t.Errorf("%d cards of 4 tickets", n)
	}
}

// filledStore makes a SQLite store with n tickets, and returns its path.
func filledStore(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "from.db")
	st, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for i := range n {
		in := storetest.Asked(fmt.Sprint("r", i))
		if _, _, err := st.Accept(t.Context(), in, storetest.Asks(in, storetest.Now)); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestStoreCopySays(t *testing.T) {
	t.Parallel()
	from := filledStore(t, 3)
	to := filepath.Join(t.TempDir(), "to.db")
	for _, want := range []string{
		"Copied 3 tickets and 3 webhooks; already there: 0 tickets and 0 webhooks; brought up to date: 0 tickets; kept because they have gone further there: 0 tickets.\n",
		"Copied 0 tickets and 0 webhooks; already there: 3 tickets and 3 webhooks; brought up to date: 0 tickets; kept because they have gone further there: 0 tickets.\n",
	} {
		out, side, err := ran(t, "store", "copy", "sqlite:"+from, "sqlite:"+to)
		want += "FROM, sqlite:" + from + ", holds 3 tickets and 3 webhooks; its next ticket gets number 1004.\n" +
			"TO, sqlite:" + to + ", holds 3 tickets and 3 webhooks; its next ticket gets number 1004.\n"
		if out != want || side != "" || err != nil {
			t.Errorf("copy = %q, %q, %v\nwant %q", out, side, err, want)
		}
	}
}

func TestStoreCopyRefuses(t *testing.T) {
	t.Parallel()
	const pw = "hunter2secret"
	full, dir := filledStore(t, 1), t.TempDir()
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(full, link); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.db")
	st, err := sqlite.Open(t.Context(), sqlite.Config{Path: empty})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	used := filledStore(t, 1)
	bot, err := sqlite.Open(t.Context(), sqlite.Config{Path: used})
	if err != nil {
		t.Fatal(err)
	}
	defer bot.Close()
	others := filepath.Join(dir, "others.db")
	st, err = sqlite.Open(t.Context(), sqlite.Config{Path: others})
	if err != nil {
		t.Fatal(err)
	}
	in := storetest.Asked("another")
	if _, _, err := st.Accept(t.Context(), in, storetest.Asks(in, storetest.Now)); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"Nothing":        {nil, "write countersign store copy FROM TO"},
		"OneEnd":         {[]string{"copy", "redis://:" + pw + "@127.0.0.1:1"}, "write countersign store copy FROM TO"},
		"WordsTurned":    {[]string{"redis://:" + pw + "@127.0.0.1:1", "copy", "sqlite:" + full}, "write countersign store copy FROM TO"},
		"FromUnknown":    {[]string{"copy", "http://:" + pw + "@h", "sqlite:" + full}, "FROM: write sqlite:PATH"},
		"ToUnreadable":   {[]string{"copy", "sqlite:" + full, "redis://:" + pw + "@h:x"}, "TO: the address does not name hosts"},
		"ToAway":         {[]string{"copy", "sqlite:" + full, "redis://:" + pw + "@127.0.0.1:1"}, "TO: open store redis://127.0.0.1:1/0: redis cannot be reached"},
		"FromMissing":    {[]string{"copy", "sqlite:" + dir + "/none.db", "sqlite:" + dir + "/new.db"}, "FROM: there is no file"},
		"FromEmpty":      {[]string{"copy", "sqlite:" + empty, "sqlite:" + full}, "there is nothing in FROM"},
		"FromUsed":       {[]string{"copy", "sqlite:" + used, "sqlite:" + dir + "/new.db"}, "stop the bot first"},
		"ToUsed":         {[]string{"copy", "sqlite:" + full, "sqlite:" + used}, "stop the bot first"},
		"SameFile":       {[]string{"copy", "sqlite:" + full, "sqlite:" + link}, "the same store"},
		"SameAddress":    {[]string{"copy", "redis://:" + pw + "@h", "redis://:" + pw + "@h"}, "the same store"},
		"OtherTickets":   {[]string{"copy", "sqlite:" + full, "sqlite:" + others}, "JIT-1001 is of request r0 here, and of request another there"},
		"FolderMissing":  {[]string{"copy", "sqlite:" + full, "sqlite:" + dir + "/none/new.db"}, "must exist and be writable"},
		"TooManyAddress": {[]string{"copy", "sqlite:" + full, "sqlite:" + others, "redis://:" + pw + "@h"}, "write countersign store copy FROM TO"},
	} {
		t.Run(name, func(t *testing.T) {
			out, side, err := ran(t, append([]string{"store"}, c.args...)...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("copy = %v, want an error with %q", err, c.want)
			}
			if strings.Contains(fmt.Sprint(out, side, err), pw) {
				t.Errorf("the password is printed: %s%s%v", out, side, err)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "new.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made for a copy that could not begin: %v", err)
	}
}

// One Redis has many addresses.
func TestStoreCopySameRedis(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	from := filledStore(t, 2)
	if _, _, err := ran(t, "store", "copy", "sqlite:"+from, srv.URL("a")); err != nil {
		t.Fatal(err)
	}
	again := strings.Replace(srv.URL("a"), "127.0.0.1", "localhost", 1)
	if _, _, err := ran(t, "store", "copy", srv.URL("a"), again); !errors.Is(err, errSameStore) {
		t.Errorf("copy to another address of it = %v, want it refused", err)
	}
	_, side, err := ran(t, "store", "copy", srv.URL("a"), srv.URL("b"))
	if err != nil || !strings.Contains(side, "Stop the bot, every replica") {
		t.Errorf("copy to another tenant = %v, and says %q", err, side)
	}
	b, err := redis.Open(t.Context(), redis.Config{URL: srv.URL("b")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if tk, err := b.Get(t.Context(), "JIT-1002"); err != nil || tk.ID != "r1" {
		t.Errorf("the other tenant has %v, %v", tk, err)
	}
}

func TestStoreCopyInterrupted(t *testing.T) {
	t.Parallel()
	from := filledStore(t, 300)
	to := filepath.Join(t.TempDir(), "to.db")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The clock is read after each page: the first one tells, and is the last.
	var out bytes.Buffer
	now := time.Now()
	err := run(ctx, []string{"store", "copy", "sqlite:" + from, "sqlite:" + to}, Env{Stdout: &out, Stderr: writerFunc(func(b []byte) (int, error) {
		cancel()
		if !strings.Contains(string(b), "128 of 300 tickets, 0 of 300 webhooks") {
			t.Errorf("it says %q", b)
		}
		return len(b), nil
	}), Now: func() time.Time { now = now.Add(time.Minute); return now }})
	if err == nil || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("interrupted = %v, want it to say: run it again", err)
	}
	text, _, err := ran(t, "store", "copy", "sqlite:"+from, "sqlite:"+to)
	if err != nil || !strings.Contains(text, "Copied 172 tickets and 300 webhooks; already there: 128 tickets") {
		t.Errorf("again = %v\n%s", err, text)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
