package discord

// The golden files hold what people see, in every state of a ticket. They are
// rewritten with: go test ./adapters/discord -run Golden -update

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/discord/discordtest/spec"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	testApplication = "100000000000000001"
	testGuild       = "200000000000000001"
	testUser        = "300000000000000001"
	testRole        = "400000000000000001"
)

var ann = tickets.Actor{Platform: Platform, ID: testUser, Name: "Ann Approver"}

func testConfig() Config {
	return Config{BotToken: "a.b.c", ApplicationID: testApplication, Guild: testGuild, Log: slog.New(slog.DiscardHandler), Card: func() wording.Card { return wording.Card{Moves: adaptertest.Moves, Console: adaptertest.Console} }}
}

func newChat(t testing.TB, cfg Config) *Chat {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	adaptertest.GoldenJSON(t, *update, name+".json", v)
}

// accepts holds what would be sent against Discord's own specification.
func accepts(t *testing.T, method, path string, body any, status int) {
	t.Helper()
	check, err := spec.New()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jsonx.Encode(body)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	for _, wrong := range check.Exchange(method, "/api/v9"+path, header, raw, status, http.Header{}, nil) {
		t.Errorf("%s %s: %s\n%.2000s", method, path, wrong, raw)
	}
}

const postPath = "/channels/500000000000000001/messages"

func checkMessage(t *testing.T, m message) {
	t.Helper()
	m.Flags &^= flagEphemeral // says nothing about a message that everybody sees
	accepts(t, http.MethodPost, postPath, createMessage{m, "n", true}, http.StatusBadRequest)
	raw, err := jsonx.Encode(createMessage{m, "n", true})
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range discordtest.CheckMessage(raw) {
		t.Errorf("discordtest: %s", wrong)
	}
	if !fits(m.Components) {
		t.Errorf("the message is too large: %+v", m)
	}
	var all strings.Builder
	raw, _ = json.Marshal(m.Components)
	eachComponent(raw, func(c *component) {
		if !strings.HasPrefix(string(c.Content), "<"+adaptertest.Console(&tickets.Request{})) { // the one link, which is ours
			all.WriteString(string(c.Content) + "\n")
		}
	})
	for _, bad := range []string{"Micros\u043eft", "\u202e", "\u200b", "\x00", "\ufffd"} {
		if strings.Contains(all.String(), bad) {
			t.Errorf("%q is in the message: %.500s", bad, all.String())
		}
	}
	for _, bad := range []string{"@everyone", "@here", "<@&42>", "<#C01>", "<https:", "[safe]", "https://"} {
		if strings.Contains(outsideCode(all.String()), bad) {
			t.Errorf("%q is in the message unescaped: %.500s", bad, all.String())
		}
	}
	if m.Mentions.Parse == nil {
		t.Error("allowed_mentions is open")
	}
}

// outsideCode is s without its code blocks and with escaped characters taken
// out, so that what is left is what Discord gives a meaning to.
func outsideCode(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "```") {
		if i%2 == 1 {
			continue
		}
		for j := 0; j < len(part); j++ {
			if part[j] == '\\' {
				j++
				b.WriteByte('x')
				continue
			}
			b.WriteByte(part[j])
		}
	}
	return b.String()
}

func TestCardsGolden(t *testing.T) {
	c := newChat(t, testConfig())
	for name, ticket := range adaptertest.States(ann) {
		t.Run(name, func(t *testing.T) {
			m := c.card(ticket)
			checkMessage(t, m)
			checkMessage(t, *m.simple)
			accepts(t, http.MethodPatch, postPath+"/600000000000000001", m, http.StatusBadRequest)
			golden(t, "card-"+name, m)
			for i := range ticket.Events {
				checkMessage(t, c.reply(ticket, i))
				checkMessage(t, *c.reply(ticket, i).simple)
			}
		})
	}
}

func TestRepliesGolden(t *testing.T) {
	c := newChat(t, testConfig())
	var out []map[string]any
	for _, name := range adaptertest.Telling() {
		ticket := adaptertest.States(ann)[name]
		for i, e := range ticket.Events {
			m := c.reply(ticket, i)
			out = append(out, map[string]any{"ticket": name, "event": e.Kind, "message": m})
			if pings := len(m.Mentions.Users) > 0; pings != (e.Kind == tickets.EventRefused) {
				t.Errorf("%s: a reply about %s notifies somebody: %v", name, e.Kind, pings)
			}
		}
	}
	golden(t, "replies", out)
}

func checkModal(t *testing.T, m modal) {
	t.Helper()
	accepts(t, http.MethodPost, "/interactions/700000000000000001/token/callback", answer{answerModal, m}, http.StatusBadRequest)
	raw, err := jsonx.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range discordtest.CheckForm(raw) {
		t.Errorf("discordtest: %s", wrong)
	}
}

func TestFormsGolden(t *testing.T) {
	for name, f := range adaptertest.Forms() {
		t.Run(name, func(t *testing.T) {
			m := formModal(f)
			checkModal(t, m)
			golden(t, "form-"+name, m)
			if len(f.Problems) > 0 {
				again := retryMessage(f, customID(adapters.Action(f.Verdict), f.Ticket.Request.Digest(), f.Ticket.Number))
				checkMessage(t, again)
				golden(t, "again-"+name, again)
			}
		})
	}
	for _, name := range []string{"pending", "pending-bare", "pending-hostile"} {
		t.Run("details-"+name, func(t *testing.T) {
			all := detailsMessages(adaptertest.States(ann)[name])
			for _, m := range all {
				checkMessage(t, m)
			}
			golden(t, "details-"+name, all)
		})
	}
	t.Run("many fields", func(t *testing.T) {
		all := detailsMessages(adaptertest.Crowded())
		for _, m := range all {
			checkMessage(t, m)
		}
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != maxDetails || !strings.Contains(string(raw), "more fields") {
			t.Errorf("%d messages, want %d, and a word on what is missing", len(all), maxDetails)
		}
	})
	t.Run("a long command line", func(t *testing.T) {
		raw, err := json.Marshal(detailsMessages(adaptertest.Long()))
		if err != nil {
			t.Fatal(err)
		}
		adaptertest.CountsRight(t, string(raw))
	})
	t.Run("note", func(t *testing.T) {
		m := note(tickets.MsgFinal + " @everyone <@1> # x\n# y")
		checkMessage(t, m)
		golden(t, "note", m)
	})
}

// TestTreeGolden holds the slash command, as it is registered, against the
// specification too.
func TestTreeGolden(t *testing.T) {
	tree := commandTree()
	accepts(t, http.MethodPut, "/applications/"+testApplication+"/guilds/"+testGuild+"/commands", tree, http.StatusBadRequest)
	golden(t, "commands", tree)
}

func TestMentionOnNewTickets(t *testing.T) {
	cfg := testConfig()
	cfg.Card = func() wording.Card {
		return wording.Card{Fields: []string{"reason", "nonsense", "user"}, Assign: tickets.Principal{Platform: Platform, Kind: tickets.Role, ID: testRole}}
	}
	c := newChat(t, cfg)
	tk := adaptertest.Started(adaptertest.Request())
	m := c.card(tk)
	checkMessage(t, m)
	raw, _ := jsonx.Encode(m)
	if !strings.Contains(string(raw), "<@&"+testRole+">") || !slices.Equal(m.Mentions.Roles, []string{testRole}) {
		t.Errorf("no mention: %s", raw)
	}
	if strings.Contains(string(raw), "7zFM.exe") || !strings.Contains(string(raw), "unpack the installer") {
		t.Errorf("the card does not show the fields that were set: %s", raw)
	}
	tk = adaptertest.Acknowledged(adaptertest.Request(), tickets.Approve, ann)
	m = c.card(tk)
	if raw, _ = jsonx.Encode(m); strings.Contains(string(raw), "<@&") || len(m.Mentions.Roles) > 0 {
		t.Errorf("a decided ticket still notifies the role: %s", raw)
	}
}

func TestEscape(t *testing.T) {
	for s, want := range map[string]string{
		`ACME\ann on PC-0815`:    `ACME\\ann on PC-0815`,
		"my_file*x":              `my\_file\*x`,
		"@everyone <@1> <t:1:f>": `\@everyone \<\@1> \<t:1:f>`,
		"[a](https://x.example)": `\[a\](https\://x.example)`,
		"# big\n- list\n> quote": "\\# big\n\\- list\n\\> quote",
		"12. list":               `12\. list`,
		"7-Zip 24.09: 12:05":     "7-Zip 24.09: 12:05",
		"||spoiler|| ~~no~~ `c`": "\\|\\|spoiler\\|\\| \\~\\~no\\~\\~ \\`c\\`",
		"-# small\n  1. x":       "\\-# small\n  1\\. x",
	} {
		if got := escape(s); got != want {
			t.Errorf("escape(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestCodeBlockCannotBeLeft(t *testing.T) {
	for _, s := range []string{"```", "a```b````", "`", "``", strings.Repeat("`", 20), ""} {
		got := codeBlock(s)
		if n := strings.Count(got, "```"); n != 2 {
			t.Errorf("codeBlock(%q) = %q has %d fences, want 2", s, got, n)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "# x", "a://b", "\\", "1.", "> ", "```", "\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		for _, line := range strings.Split(outsideCode(strings.ReplaceAll(escape(s), "```", "")), "\n") {
			if l := strings.TrimSpace(line); strings.ContainsAny(l, "*_~|<[]@`") || strings.Contains(l, "://") || strings.HasPrefix(l, "#") || strings.HasPrefix(l, "-") || strings.HasPrefix(l, ">") {
				t.Errorf("escape(%q) leaves %q", s, line)
			}
		}
		// Taking the backslashes away gives the text back.
		var plain strings.Builder
		e := escape(s)
		for i := 0; i < len(e); i++ {
			if e[i] == '\\' {
				i++
			}
			plain.WriteByte(e[i])
		}
		if plain.String() != s {
			t.Errorf("escape(%q) = %q shows %q", s, e, plain.String())
		}
	})
}

// TestInviteInTheDocs holds the number of permissions in the set-up.
func TestInviteInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/setup-discord.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("&permissions=%d`", Permissions()); !strings.Contains(string(text), want) {
		t.Errorf("docs/setup-discord.md does not invite with %s", want)
	}
}

// TestMenu: any number of states is shown as far as Discord takes them.
func TestMenu(t *testing.T) {
	for name, moves := range map[string]func(*tickets.Ticket) []tickets.State{
		"none": nil, "no other": func(*tickets.Ticket) []tickets.State { return nil }, "crowd": adaptertest.Crowd,
	} {
		cfg := testConfig()
		cfg.Card = func() wording.Card { return wording.Card{Moves: moves} }
		tk := adaptertest.Started(adaptertest.Request())
		tk.Number = "ABCDEFGHIJ-9223372036854775807"
		m := newChat(t, cfg).card(tk)
		checkMessage(t, m)
		raw, _ := jsonx.Encode(m.Components)
		if got := strings.Contains(string(raw), `"type":3`); got != (name == "crowd") {
			t.Errorf("%s: a menu: %v", name, got)
		}
	}
}
