package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis/redistest"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// desk is an operator's shell.
type desk struct {
	*testing.T
	env environment
}

func newDesk(t *testing.T, store string) *desk {
	return &desk{t, environment{
		Listen: "127.0.0.1:0", Store: secret(store), WebhookUser: webhookUser, WebhookPassword: webhookPass,
		EPMHost: "acme-services.beyondtrustcloud.com", EPMClientID: "client", EPMClientSecret: "epm-secret-1",
		SlackBotToken: "xoxb-secret-2", SlackSigningSecret: "signing-secret-3", SlackChannel: channel, SlackAPIURL: "https://slack.com/api/",
		DiscordMode: "gateway", DiscordAPIURL: "https://discord.com",
		Approvers: "slack:U01ANN", Admins: "slack:U01ANN",
		SettingsShortDescription: "EPM JIT Access Request", SettingsAutoClose: "false", SettingsSelfApproval: "deny",
		LogLevel: "info", LogFormat: "text",
	}}
}

// types runs the command, and returns what it printed.
func (d *desk) types(args ...string) (string, error) {
	d.Helper()
	var out bytes.Buffer
	err := run(d.Context(), args, Env{
		Environment: func() (environment, []finding) { return d.env, nil },
		Stdout:      &out, Stderr: io.Discard, Now: func() time.Time { return storetest.Now },
	})
	return out.String(), err
}

func (d *desk) prints(want string, args ...string) string {
	d.Helper()
	got, err := d.types(args...)
	if err != nil {
		d.Fatalf("%q: %v", args, err)
	}
	if !strings.Contains(got, want) {
		d.Errorf("%q prints %q, want %q in it", args, got, want)
	}
	return got
}

func (d *desk) refuses(want string, args ...string) {
	d.Helper()
	if got, err := d.types(args...); err == nil || !strings.Contains(err.Error(), want) {
		d.Errorf("%q prints %q, %v; want an error with %q in it", args, got, err, want)
	}
}

// file is text in a file.
func (d *desk) file(text string) string {
	d.Helper()
	path := filepath.Join(d.TempDir(), "settings.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
	return path
}

// with does something to the store.
func (d *desk) with(do func(context.Context, store.Store) error) {
	d.Helper()
	keep, err := openSettings(d.Context(), Env{Environment: func() (environment, []finding) { return d.env, nil }, Now: time.Now})
	if err != nil {
		d.Fatal(err)
	}
	defer keep.Close()
	if err := do(d.Context(), keep); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) settings() (set tickets.Settings) {
	d.Helper()
	d.with(func(ctx context.Context, keep store.Store) (err error) { set, err = keep.Settings(ctx); return err })
	return set
}

func (d *desk) changes() (list []tickets.Change) {
	d.Helper()
	d.with(func(ctx context.Context, keep store.Store) (err error) { list, err = keep.Changes(ctx, 0); return err })
	return list
}

// desks are a store of each kind.
func desks(t *testing.T, do func(t *testing.T, d *desk, damage func(string))) {
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		do(t, newDesk(t, "sqlite:"+path), func(text string) {
			db, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(`INSERT OR REPLACE INTO meta (key, value) VALUES ('settings', ?)`, text); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("Redis", func(t *testing.T) {
		srv := startRedis(t)
		do(t, newDesk(t, srv.URL("desk")), func(text string) {
			c := srv.Client()
			defer c.Close()
			damageRedis(t, c, text)
		})
	})
}

func damageRedis(t *testing.T, c *goredis.Client, text string) {
	t.Helper()
	if err := c.Set(t.Context(), "{countersign:desk}:settings", text, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// full is a setting of every key, in a file that somebody wrote by hand.
const full = `{
	"countersign_settings": 1,
	"settings": {
		"ticket_type": "change request", "active_states": "new, Assess", "short_description": "“Access”, <please> & \\ \u2028 ü",
		"assignment_group": "slack:group:S01HELP", "category": "IT", "auto_close": "true", "approvers": "slack:U01ANN,slack:group:S01HELP",
		"admins": "slack:U02BOB", "channels": "slack:C01EPM,slack:C02EPM", "fields": "User, reason", "self_approval": "allow"
	}
}`

// TestSettingsMove: what is exported of one store and imported into another
// is the same there, and is one change of the operator's.
func TestSettingsMove(t *testing.T) {
	t.Parallel()
	for name, kinds := range map[string][2]bool{"SQLiteToRedis": {false, true}, "RedisToSQLite": {true, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stores := [2]*desk{}
			for i, isRedis := range kinds {
				at := "sqlite:" + filepath.Join(t.TempDir(), "a.db")
				if isRedis {
					at = startRedis(t).URL("desk")
				}
				stores[i] = newDesk(t, at)
			}
			from, to := stores[0], stores[1]
			path := from.file(full)
			from.prints("11 settings changed.", "settings", "import", path)
			from.prints("0 settings changed.", "settings", "import", path)
			want := from.settings()
			if want.Version != 1 || len(want.Values) != len(tickets.SettingKeys()) || want.Values["ticket_type"] != "Change Request" {
				t.Errorf("settings = %+v, want each key, of version 1, as they are shown", want)
			}
			for _, c := range from.changes() {
				if c.Version != 1 || c.By.ID != "" || c.By.Name != operator().Name || !c.At.Equal(storetest.Now) {
					t.Errorf("change %+v, want one of the operator's", c)
				}
			}
			to.with(func(ctx context.Context, keep store.Store) error {
				old := "Old"
				_, err := keep.Configure(ctx, 0, []tickets.Change{{Key: "category", New: &old}, {Key: "fields", New: &old}})
				return err
			})
			exported := from.prints("", "settings", "export")
			to.prints("category: “Old” → “IT”", "settings", "import", to.file(exported))
			if got := to.settings(); !maps.Equal(got.Values, want.Values) || got.Version != 2 {
				t.Errorf("settings there = %+v, want %+v", got, want)
			}
			again := to.prints("", "settings", "export")
			a, b := strings.Replace(exported, `"version": 1`, `"version": 2`, 1), again
			if a != b {
				t.Errorf("exported again:\n%s\nwant\n%s", b, a)
			}
			// What is not in the file is taken back.
			to.prints("category: “IT” → empty", "settings", "import", to.file(`{"countersign_settings": 1, "settings": {"auto_close": "true"}}`))
			if got := to.settings(); len(got.Values) != 1 || got.Values["auto_close"] != "true" {
				t.Errorf("settings = %+v, want those of the file alone", got)
			}
		})
	}
}

// TestSettingsExport: the file is as it is documented, tells the history if
// that is wanted, and no secret.
func TestSettingsExport(t *testing.T) {
	t.Parallel()
	desks(t, func(t *testing.T, d *desk, _ func(string)) {
		d.with(func(ctx context.Context, keep store.Store) error {
			one, two := "One", "Two"
			ann := storetest.Ann
			ann.Name = "Ann) slack:U2 (\u202eBob"
			if _, err := keep.Configure(ctx, 0, []tickets.Change{{At: storetest.Now, By: ann, Key: "category", New: &one}}); err != nil {
				return err
			}
			_, err := keep.Configure(ctx, 1, []tickets.Change{{At: storetest.Now, Key: "category", Old: &one, New: &two}})
			return err
		})
		plain := d.prints("", "settings", "export")
		want := `{
  "countersign_settings": 1,
  "exported": "2026-01-31T13:05:00Z",
  "version": 2,
  "settings": {
    "category": "Two"
  }
}
`
		if plain != want {
			t.Errorf("the file is\n%s\nwant\n%s", plain, want)
		}
		history := d.prints("", "settings", "export", "--history")
		var file struct {
			History []map[string]any `json:"history"`
		}
		if err := json.Unmarshal([]byte(history), &file); err != nil {
			t.Fatal(err)
		}
		if len(file.History) != 2 || file.History[0]["by"] != "the operator" || file.History[0]["old"] != "One" || file.History[1]["by"] != "slack:U1 Ann slack:U2 Bob" || file.History[1]["old"] != nil {
			t.Errorf("history = %+v", file.History)
		}
		for _, hidden := range []string{webhookPass, "epm-secret-1", "xoxb-secret-2", "signing-secret-3", redistest.Password} {
			if strings.Contains(history, hidden) {
				t.Errorf("the file holds the secret %q", hidden)
			}
		}
		d.prints("0 settings changed.", "settings", "import", d.file(history))
	})
}

// TestSettingsImportRefuses: everything is checked first, and nothing is
// changed if anything is wrong.
func TestSettingsImportRefuses(t *testing.T) {
	t.Parallel()
	desks(t, func(t *testing.T, d *desk, damage func(string)) {
		d.prints("1 setting changed.", "settings", "import", d.file(`{"countersign_settings": 1, "settings": {"category": "Kept"}}`))
		form := func(settings string) string { return `{"countersign_settings": 1, "settings": {` + settings + `}}` }
		for _, tt := range []struct{ text, want string }{
			{form(`"category": "New", "auto_close": "perhaps", "active_states": "Nowhere"`), "active_states was not changed: item 1 is not a state of Access Request"},
			{form(`"category": "New", "auto_close": "perhaps", "active_states": "Nowhere"`), "auto_close was not changed: write true or false"},
			{form(`"category": "New", "zeta": "1", "approver_quorum": "2"`), "this version does not know approver_quorum, zeta: nothing was changed"},
			{form(`"category": "New", "approvers": ""`), "nobody could decide requests any more"},
			{form(`"category": "New", "admins": ""`), "nobody could change the settings in chat any more"},
			{form(`"category": "New", "active_states": "On Hold"`), "New requests begin in New, which is not an active state: nobody can decide one before an admin moves it to On Hold.\n  If that is what you want, write yes behind the file"},
			{form(`"category": "New", "approvers": "discord:1234567890123456789"`), "Discord is not configured"},
			{form(`"category": "New", "category": "Newer"`), `"category" is in it twice`},
			{form(`"auto_close": true`), `the value of "auto_close" must be a text in quotes`},
			{`{"countersign_settings": 2, "settings": {"category": ["New"]}}`, "written by a newer version"},
			{`{"countersign_settings": 1, "settings": {}, "routes": []}`, `unknown field "routes"`},
			{`{"settings": {"category": "New"}}`, `it needs "countersign_settings": 1`},
			{`{"countersign_settings": 1}`, `and "settings"`},
			{form(`"category": "New"`) + `{}`, "something stands behind the settings"},
			{`{"countersign_settings": 1, "settings": {"category": "New"`, "unexpected EOF"},
			{`category: New`, "invalid character"},
		} {
			d.refuses(tt.want, "settings", "import", d.file(tt.text))
		}
		if got := d.settings(); got.Version != 1 || got.Values["category"] != "Kept" {
			t.Errorf("settings = %+v, want nothing changed", got)
		}
		dry := d.file(form(`"category": "New", "fields": "user"`))
		d.prints("category: “Kept” → “New”\nfields: empty → “user”\n2 settings would change.\n", "settings", "import", "--dry-run", dry)
		if got := d.settings(); got.Version != 1 {
			t.Errorf("settings after a dry run = %+v", got)
		}
		onHold := d.file(form(`"category": "New", "active_states": "On Hold"`))
		d.prints("2 settings would change.\nNew requests begin in New, which is not an active state", "settings", "import", "--dry-run", onHold)
		if got := d.settings(); got.Version != 1 {
			t.Errorf("settings after a dry run = %+v", got)
		}
		d.prints("2 settings changed.\nNew requests begin in New, which is not an active state", "settings", "import", onHold, "yes")
		d.prints("0 settings changed.", "settings", "import", onHold)
		d.refuses("write countersign settings import", "settings", "import", onHold, "no")
		d.prints("1 setting changed.", "settings", "import", d.file(form(`"category": "New"`)))
		d.refuses("no such file", "settings", "import", filepath.Join(t.TempDir(), "none.json"))
		d.refuses("write countersign settings import", "settings", "import")
		d.refuses("write countersign settings export", "settings", "expotr")
		damage(`{"v":1,"ver`)
		d.refuses("countersign settings reset yes makes the default again", "settings", "import", dry)
		d.refuses("countersign settings reset yes makes the default again", "settings", "export")
	})
}

// TestSettingsResetAsksFirst: a reset of all says what would change, and
// changes it after a yes; one setting is named.
func TestSettingsResetAsksFirst(t *testing.T) {
	t.Parallel()
	desks(t, func(t *testing.T, d *desk, _ func(string)) {
		d.prints("2 settings changed.", "settings", "import", d.file(`{"countersign_settings": 1, "settings": {"category": "Kept", "fields": "user"}}`))
		d.prints("category: “Kept” → as the program is started with\nfields: “user” → as the program is started with\n2 settings would change. Nothing was changed yet: countersign settings reset yes ", "settings", "reset")
		d.refuses(`there is no setting "no"`, "settings", "reset", "no")
		d.refuses("write countersign settings export", "settings", "reset", "category", "yes")
		if got := d.settings(); got.Version != 1 {
			t.Errorf("settings = %+v, want nothing changed", got)
		}
		d.prints("category: “Kept” → as the program is started with\n1 setting changed.\n", "settings", "reset", "category")
		d.prints("0 settings changed.", "settings", "reset", "category")
		if got := d.settings(); got.Version != 2 || len(got.Values) != 1 || got.Values["fields"] != "user" {
			t.Errorf("settings = %+v, want the other one left alone", got)
		}
		d.prints("1 setting changed.", "settings", "reset", "yes")
		if got := d.settings(); got.Version != 3 || len(got.Values) > 0 {
			t.Errorf("settings = %+v, want none", got)
		}
	})
}

// TestSettingsResetMends: a reset makes the default again also if what is
// stored cannot be read, and keeps what stood there.
func TestSettingsResetMends(t *testing.T) {
	t.Parallel()
	desks(t, func(t *testing.T, d *desk, damage func(string)) {
		d.prints("11 settings changed.", "settings", "import", d.file(full))
		d.prints("11 settings changed.", "settings", "reset", "yes")
		d.prints("0 settings changed.", "settings", "reset", "yes")
		damage(`{"v":1,"version":2,"values":{"appro`)
		d.prints("cannot be read. Nothing was changed yet: countersign settings reset yes ", "settings", "reset")
		d.refuses("countersign settings reset yes makes the default again", "settings", "reset", "category")
		d.prints("could not be read. All are as the program is started with again", "settings", "reset", "yes")
		d.prints("0 settings changed.", "settings", "reset")
		if got := d.settings(); got.Version != 3 || len(got.Values) > 0 {
			t.Errorf("settings = %+v, want none, of version 3", got)
		}
		d.prints(`"old": "{\"v\":1,\"version\":2,\"values\":{\"appro"`, "settings", "export", "--history")
	})
}

// TestDoctorFindsDamagedSettings, beside a running bot and without one.
func TestDoctorFindsDamagedSettings(t *testing.T) {
	t.Parallel()
	s := tell(t)
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(s.env.Store.Reveal(), "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`PRAGMA busy_timeout = 5000; INSERT OR REPLACE INTO meta (key, value) VALUES ('settings', '{')`); err != nil {
		t.Fatal(err)
	}
	finds := func(when string) {
		t.Helper()
		_, fixes, _ := s.doctored(t.Context(), nil)
		if all := strings.Join(fixes, "\n"); !strings.Contains(all, "the settings in the store: they are damaged") || !strings.Contains(all, "countersign settings reset") {
			t.Errorf("%s doctor finds\n%s", when, all)
		}
	}
	finds("beside a bot")
	s.has("/epm config", s.slackSays("U01ANN", "config"), "damaged and cannot be read")
	s.stop()
	finds("without a bot")
	s.start()
	s.has("/epm config reset yes", s.slackSays("U01ANN", "config reset yes"), "Every setting is as the program was started with again")
	s.requested()
	// Exported beside the bot, as its answer says.
	(&desk{t, s.env}).prints(`"old": "{"`, "settings", "export", "--history")
	(&desk{t, s.env}).refuses("a bot uses", "settings", "reset", "yes")
	(&desk{t, s.env}).refuses("a bot uses", "settings", "reset", "category")
	(&desk{t, s.env}).prints("0 settings changed.", "settings", "reset")
}

// TestTicketTypesOfAFile: a type of one's own can be set where its file is
// known, and nowhere else.
func TestTicketTypesOfAFile(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "sqlite:"+filepath.Join(t.TempDir(), "a.db"))
	wanted := d.file(`{"countersign_settings": 1, "settings": {"ticket_type": "emergency access", "active_states": "New"}}`)
	d.refuses("ticket_type was not changed: choose one of: Access Request, Incident", "settings", "import", wanted)
	d.env.SettingsTicketTypes = d.file(`[{"name": "Emergency Access", "prefix": "EMG", "states": ["New", "Held", "Done"], "closed": "Done"}]`)
	d.prints("ticket_type: “Access Request” → “Emergency Access”", "settings", "import", wanted)
	if got := d.settings(); got.Values["active_states"] != "New" {
		t.Errorf("settings = %+v", got)
	}
	d.env.SettingsTicketTypes = d.file(`[{"name": "Emergency Access"}]`)
	d.refuses("COUNTERSIGN_SETTINGS_TICKET_TYPES: ticket type 1: its prefix", "settings", "import", wanted)
	d.env.SettingsTicketTypes = filepath.Join(t.TempDir(), "none")
	d.refuses("COUNTERSIGN_SETTINGS_TICKET_TYPES: the file cannot be read", "settings", "import", wanted)
}
