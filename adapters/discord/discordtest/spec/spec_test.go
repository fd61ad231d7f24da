package spec_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/bwmarrin/discordgo"

	"github.com/countersign/countersign/adapters/discord/discordtest/spec"
)

const (
	messages = "/api/v9/channels/100000000000000001/messages"
	message  = messages + "/200000000000000002"
	callback = "/api/v9/interactions/300000000000000003/aW50ZXJhY3Rpb24/callback"
	original = "/api/v9/webhooks/400000000000000004/aW50ZXJhY3Rpb24/messages/@original"
	followUp = "/api/v9/webhooks/400000000000000004/aW50ZXJhY3Rpb24"
	commands = "/api/v9/applications/400000000000000004/guilds/500000000000000005/commands"

	card = `{"flags":32768,"components":[{"type":17,"accent_color":16763904,"components":[
		{"type":10,"content":"Anna asks for root on db-1"},
		{"type":1,"components":[{"type":2,"style":3,"label":"Approve","custom_id":"approve:JIT-1042"}]}]}],"allowed_mentions":{"parse":[]}}`
	form = `{"type":9,"data":{"custom_id":"approve:JIT-1042","title":"Approve JIT-1042","components":[
		{"type":18,"label":"Reason","component":{"type":4,"custom_id":"reason","style":2,"max_length":1000,"required":true}},
		{"type":18,"label":"Duration","component":{"type":21,"custom_id":"unit","options":[
			{"label":"Once","value":"once","default":true},{"label":"Minutes","value":"minutes"},{"label":"Hours","value":"hours"}]}},
		{"type":18,"label":"Amount","description":"Minutes 5-1440 or hours 1-24; empty for once",
			"component":{"type":4,"custom_id":"amount","style":1,"max_length":4,"required":false}}]}}`
	note    = `{"type":4,"data":{"content":"Already decided by Bob","flags":64,"allowed_mentions":{"parse":[]}}}`
	create  = `{"content":"Anna asks for root on db-1","nonce":"JIT-1042.1","enforce_nonce":true,"allowed_mentions":{"parse":[]}}`
	command = `[{"name":"epm","description":"Privileged access","default_member_permissions":"0","options":[
		{"type":1,"name":"ticket","description":"One ticket","options":[
			{"type":3,"name":"number","description":"Its number","required":true,"autocomplete":true}]},
		{"type":1,"name":"config","description":"Settings","options":[
			{"type":3,"name":"action","description":"What to do","choices":[{"name":"set","value":"set"},{"name":"reset","value":"reset"}]}]}]}]`

	author      = `{"id":"400000000000000004","username":"bot","discriminator":"0000","global_name":null,"avatar":null,"public_flags":0,"flags":0,"bot":true,"system":false,"banner":null,"accent_color":null,"primary_guild":null}`
	posted      = `{"type":0,"content":"hello","mentions":[],"mention_roles":[],"attachments":[],"embeds":[],"timestamp":"2026-08-01T12:00:00.000000+00:00","edited_timestamp":null,"flags":0,"components":[],"id":"200000000000000002","channel_id":"100000000000000001","author":` + author + `,"pinned":false,"mention_everyone":false,"tts":false}`
	interaction = `{"interaction":{"id":"300000000000000003","type":3}}`
)

func newChecker(t *testing.T) *spec.Checker {
	t.Helper()
	c, err := spec.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

// refused is an exchange of which only the request is checked.
func refused(c *spec.Checker, method, path, body string) []string {
	return c.Exchange(method, path, jsonHeader(), []byte(body), http.StatusBadRequest, jsonHeader(), []byte(`{"code":50035,"message":"Invalid Form Body"}`))
}

func TestGoodRequests(t *testing.T) {
	c := newChecker(t)
	for _, tt := range []struct{ name, method, path, body string }{
		{"card", "POST", messages, card},
		{"version 10", "POST", strings.Replace(messages, "v9", "v10", 1), card},
		{"edit of the card", "PATCH", message, card},
		{"create with nonce", "POST", messages, create},
		{"embed", "POST", messages, `{"embeds":[{"title":"T","url":"https://example.com/x","color":1,"timestamp":"2026-08-01T12:00:00Z","fields":[{"name":"a","value":"b","inline":true}]}]}`},
		{"list", "GET", messages + "?after=600000000000000006&limit=100", ""},
		{"form", "POST", callback, form},
		{"note", "POST", callback, note},
		{"note, answered with the message", "POST", callback + "?with_response=true", note},
		{"deferred message", "POST", callback, `{"type":5,"data":{"flags":64}}`},
		{"deferred update", "POST", callback, `{"type":6}`},
		{"update", "POST", callback, `{"type":7,"data":` + card + `}`},
		{"autocomplete", "POST", callback, `{"type":8,"data":{"choices":[{"name":"JIT-1042","value":"JIT-1042"}]}}`},
		{"select in a form", "POST", callback, `{"type":9,"data":{"custom_id":"x","title":"T","components":[{"type":18,"label":"Unit","component":{"type":3,"custom_id":"unit","placeholder":"","disabled":false,"options":[{"label":"Once","value":"once","description":"","default":false}]}}]}}`},
		{"the deferred answer", "PATCH", original, card},
		{"the deferred answer, as discord.js escapes it", "PATCH", strings.NewReplacer("@", "%40", "v9", "v10").Replace(original), card},
		{"follow-up", "POST", followUp + "?wait=true", create[:strings.Index(create, `,"nonce"`)] + `,"flags":64}`},
		{"commands", "PUT", commands, command},
		{"commands, permissions as a number", "PUT", commands, strings.Replace(command, `"0"`, "0", 1)},
		{"get commands", "GET", commands, ""},
		{"member", "GET", "/api/v9/guilds/500000000000000005/members/700000000000000007", ""},
		{"gateway", "GET", "/api/v9/gateway/bot", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := refused(c, tt.method, tt.path, tt.body); len(got) > 0 {
				t.Errorf("violations: %q", got)
			}
		})
	}
}

// What discordgo makes of its own values has keys that no schema names; they
// are known to do no harm.
func TestGoodRequestsOfDiscordgo(t *testing.T) {
	c := newChecker(t)
	yes, zero := true, int64(0)
	row := discordgo.ActionsRow{Components: []discordgo.MessageComponent{discordgo.Button{Label: "Approve", Style: discordgo.SuccessButton, CustomID: "approve:JIT-1042"}}}
	card := []discordgo.MessageComponent{discordgo.Container{Components: []discordgo.MessageComponent{discordgo.TextDisplay{Content: "Anna asks"}, row}}}
	none := &discordgo.MessageAllowedMentions{Parse: []discordgo.AllowedMentionType{}}
	for _, tt := range []struct {
		name, method, path string
		body               any
	}{
		{"post", "POST", messages, &discordgo.MessageSend{Components: card, Flags: discordgo.MessageFlagsIsComponentsV2, AllowedMentions: none}},
		{"post an embed", "POST", messages, &discordgo.MessageSend{Content: "x", Embeds: []*discordgo.MessageEmbed{{Title: "T"}}, Components: []discordgo.MessageComponent{row}}},
		{"note", "POST", callback, &discordgo.InteractionResponse{Type: discordgo.InteractionResponseChannelMessageWithSource, Data: &discordgo.InteractionResponseData{Content: "x", Flags: discordgo.MessageFlagsEphemeral}}},
		{"update", "POST", callback, &discordgo.InteractionResponse{Type: discordgo.InteractionResponseUpdateMessage, Data: &discordgo.InteractionResponseData{Components: card, Flags: discordgo.MessageFlagsIsComponentsV2}}},
		{"deferred", "POST", callback, &discordgo.InteractionResponse{Type: discordgo.InteractionResponseDeferredMessageUpdate}},
		{"form", "POST", callback, &discordgo.InteractionResponse{Type: discordgo.InteractionResponseModal, Data: &discordgo.InteractionResponseData{CustomID: "x", Title: "T",
			Components: []discordgo.MessageComponent{discordgo.Label{Label: "Reason", Component: discordgo.TextInput{CustomID: "reason", Style: discordgo.TextInputParagraph, Required: &yes}},
				discordgo.Label{Label: "Unit", Component: discordgo.SelectMenu{CustomID: "unit", Options: []discordgo.SelectMenuOption{{Label: "Once", Value: "once"}}}}}}}},
		{"autocomplete", "POST", callback, &discordgo.InteractionResponse{Type: discordgo.InteractionApplicationCommandAutocompleteResult, Data: &discordgo.InteractionResponseData{Choices: []*discordgo.ApplicationCommandOptionChoice{{Name: "a", Value: "a"}}}}},
		{"edit of the answer", "PATCH", original, &discordgo.WebhookEdit{Components: &card, Flags: discordgo.MessageFlagsIsComponentsV2, AllowedMentions: none}},
		{"follow-up", "POST", followUp, &discordgo.WebhookParams{Content: "x", AllowedMentions: none}},
		{"commands", "PUT", commands, []*discordgo.ApplicationCommand{{Name: "epm", Description: "Privileged access", DefaultMemberPermissions: &zero, Options: []*discordgo.ApplicationCommandOption{
			{Type: discordgo.ApplicationCommandOptionSubCommand, Name: "ticket", Description: "One ticket", Options: []*discordgo.ApplicationCommandOption{
				{Type: discordgo.ApplicationCommandOptionString, Name: "number", Description: "Its number", Required: true, Autocomplete: true}}},
			{Type: discordgo.ApplicationCommandOptionSubCommand, Name: "status", Description: "State of the bot"}}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body, err := json.Marshal(tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if got := refused(c, tt.method, tt.path, string(body)); len(got) > 0 {
				t.Errorf("%s\nviolations: %q", body, got)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	c := newChecker(t)
	long := func(n int) string { return strings.Repeat("ä", n) }
	list := func(n int, e string) string { return "[" + strings.TrimSuffix(strings.Repeat(e+",", n), ",") + "]" }
	text := func(s string) string { return `{"content":"` + s + `"}` }
	v2 := func(components string) string { return `{"flags":32768,"components":` + components + `}` }
	button := `{"type":2,"style":3,"label":"A","custom_id":"a"}`
	label := func(component string) string {
		return `{"type":9,"data":{"custom_id":"x","title":"T","components":[{"type":18,"label":"L","component":` + component + `}]}}`
	}
	replaced := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %s", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	for _, tt := range []struct{ name, method, path, body, want string }{
		{"26 fields", "POST", messages, `{"embeds":[{"fields":` + list(26, `{"name":"a","value":"b"}`) + `}]}`, "request.embeds.0.fields: maximum number of items is 25"},
		{"value 1025", "POST", messages, `{"embeds":[{"fields":[{"name":"a","value":"` + long(1025) + `"}]}]}`, "request.embeds.0.fields.0.value: maximum string length is 1024"},
		{"title 257", "POST", messages, `{"embeds":[{"title":"` + long(257) + `"}]}`, ".title: maximum string length is 256"},
		{"embed description 4097", "POST", messages, `{"embeds":[{"description":"` + long(4097) + `"}]}`, ".description: maximum string length is 4096"},
		{"colour", "POST", messages, `{"embeds":[{"color":16777216}]}`, ".color: number must be at most"},
		{"timestamp", "POST", messages, `{"embeds":[{"timestamp":"yesterday"}]}`, ".timestamp: not a valid date-time"},
		{"embed url", "POST", messages, `{"embeds":[{"url":"example.com"}]}`, ".url: not a valid uri"},
		{"11 embeds", "POST", messages, `{"embeds":` + list(11, `{"title":"a"}`) + `}`, ".embeds: maximum number of items is 10"},
		{"content 4001", "POST", messages, text(long(4001)), "request.content: maximum string length is 4000"},
		{"nonce 26", "POST", messages, `{"content":"x","nonce":"` + strings.Repeat("n", 26) + `"}`, "request.nonce: maximum string length is 25"},
		{"6 buttons", "POST", messages, `{"components":[{"type":1,"components":` + list(6, button) + `}]}`, "request.components.0.components: maximum number of items is 5"},
		{"custom_id 101", "POST", messages, v2(`[{"type":17,"components":[{"type":1,"components":[` + replaced(button, `"custom_id":"a"`, `"custom_id":"`+long(101)+`"`) + `]}]}]`),
			"request.components.0.components.0.components.0.custom_id: maximum string length is 100"},
		{"button label 81", "POST", messages, v2(`[{"type":1,"components":[` + replaced(button, `"A"`, `"`+long(81)+`"`) + `]}]`), ".label: maximum string length is 80"},
		{"button style", "POST", messages, v2(`[{"type":1,"components":[` + replaced(button, `"style":3`, `"style":9`) + `]}]`), ".style: the value is none of 1, 2"},
		{"41 components", "POST", messages, v2(list(41, `{"type":10,"content":"x"}`)), ".components: maximum number of items is 40"},
		{"component type", "POST", messages, v2(`[{"type":99}]`), "request.components.0: type 99 is not allowed here, only 1, 17, "},
		{"label in a message", "POST", messages, v2(`[{"type":18,"label":"L","component":{"type":4,"custom_id":"x","style":1}}]`), ".components.0: type 18 is not allowed here"},
		{"text input in a message", "POST", messages, v2(`[{"type":1,"components":[{"type":4,"custom_id":"x","style":1}]}]`), ".components.0.components.0: type 4 is not allowed here"},
		{"mention of a name", "POST", messages, `{"content":"x","allowed_mentions":{"roles":["admins"]}}`, ".allowed_mentions.roles.0: string doesn't match"},
		{"kind of mention", "POST", messages, `{"content":"x","allowed_mentions":{"parse":["all"]}}`, ".parse.0: the value is none of users, roles, everyone"},
		{"flags as text", "POST", messages, `{"content":"x","flags":"64"}`, "request.flags: value must be"},
		{"misspelt key", "POST", messages, `{"content":"x","allowed_mention":{"parse":[]}}`, "request.allowed_mention: the document has no such key here"},
		{"misspelt key far below", "POST", messages, replaced(card, `"custom_id"`, `"customId":"x","custom_id"`), "request.components.0.components.1.components.0.customId: the document has no such key here"},
		{"nonce in a follow-up", "POST", followUp, replaced(create, `,"enforce_nonce":true`, ""), "request.nonce: the document has no such key here"},
		{"discordgo's edit", "PATCH", message, `{"content":"x","ID":"1"}`, "request.ID: the document has no such key here"},
		{"content of a form", "POST", callback, replaced(form, `"title"`, `"content":"x","title"`), "request.data.content: the document has no such key here"},
		{"callback content 2001", "POST", callback, replaced(note, "Already", long(2001)), "request.data.content: maximum string length is 2000"},
		{"callback type", "POST", callback, `{"type":3}`, "request: type 3 is not allowed here"},
		{"form without data", "POST", callback, `{"type":9}`, "request.data: property \"data\" is missing"},
		{"form title 46", "POST", callback, replaced(form, `"title":"`, `"title":"`+long(45)), "request.data.title: maximum string length is 45"},
		{"form of nothing", "POST", callback, `{"type":9,"data":{"custom_id":"x","title":"T","components":[]}}`, "request.data.components: minimum number of items is 1"},
		{"label 46", "POST", callback, replaced(form, `"Reason"`, `"`+long(46)+`"`), "request.data.components.0.label: maximum string length is 45"},
		{"max_length 4001", "POST", callback, replaced(form, `"max_length":1000`, `"max_length":4001`), "request.data.components.0.component.max_length: number must be at most 4000"},
		{"misspelt key in a form", "POST", callback, replaced(form, `"max_length"`, `"maxLength"`), ".component.maxLength: the document has no such key here"},
		{"radio with one option", "POST", callback, label(`{"type":21,"custom_id":"u","options":[{"label":"a","value":"a"}]}`), ".component.options: minimum number of items is 2"},
		{"text input outside a label", "POST", callback, `{"type":9,"data":{"custom_id":"x","title":"T","components":[{"type":4,"custom_id":"x","style":1}]}}`, ".components.0: type 4 is not allowed here"},
		{"button in a form", "POST", callback, label(button), ".component: type 2 is not allowed here"},
		{"26 select options", "POST", callback, label(`{"type":3,"custom_id":"u","options":` + list(26, `{"label":"a","value":"a"}`) + `}`), ".options: maximum number of items is 25"},
		{"26 suggestions", "POST", callback, `{"type":8,"data":{"choices":` + list(26, `{"name":"a","value":"a"}`) + `}}`, "request.data.choices: maximum number of items is 25"},
		{"command name 33", "PUT", commands, replaced(command, `"epm"`, `"`+long(33)+`"`), "request.0.name: maximum string length is 32"},
		{"option without description", "PUT", commands, replaced(command, `"description":"One ticket",`, ""), `request.0.options.0.description: property "description" is missing`},
		{"26 choices", "PUT", commands, replaced(command, `[{"name":"set","value":"set"},{"name":"reset","value":"reset"}]`, list(26, `{"name":"a","value":"a"}`)), ".choices: maximum number of items is 25"},
		{"permissions in words", "PUT", commands, replaced(command, `"0"`, `"ADMINISTRATOR"`), "request.0.default_member_permissions: string doesn't match"},
		{"autocomplete of a subcommand", "PUT", commands, replaced(command, `"type":1,`, `"type":1,"autocomplete":true,`), "request.0.options.0.autocomplete: the document has no such key here"},
		{"one command instead of a list", "PUT", commands, `{"name":"epm","description":"x"}`, "request: value must be one of array, null"},
		{"snowflake", "POST", strings.Replace(messages, "1000", "C000", 1), create, "path parameter channel_id: string doesn't match"},
		{"query limit", "GET", messages + "?limit=101", "", "query parameter limit: number must be at most 100"},
		{"query limit in words", "GET", messages + "?limit=all", "", "query parameter limit: "},
		{"query name", "GET", messages + "?since=1", "", "query parameter since is not in the document"},
		{"unknown path", "POST", "/api/v9/channels/1/posts", create, "the path is unknown"},
		{"no version", "POST", "/api/channels/1/messages", create, "the path does not start with /api/v9/ or /api/v10/"},
		{"method", "PUT", messages, create, "the path has no such method"},
		{"no body", "POST", callback, "", "the request body is missing"},
		{"body of a GET", "GET", messages, "{}", "the document knows no request body here"},
		{"not JSON", "POST", messages, `{"content":`, "the request body is not JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := refused(c, tt.method, tt.path, tt.body)
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("violations = %q, want one with %q", got, tt.want)
			}
		})
	}
}

func TestContentType(t *testing.T) {
	c := newChecker(t)
	var body bytes.Buffer
	parts := func(fields ...string) http.Header {
		body.Reset()
		w := multipart.NewWriter(&body)
		for i := 0; i < len(fields); i += 2 {
			if err := w.WriteField(fields[i], fields[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return http.Header{"Content-Type": {w.FormDataContentType()}}
	}
	check := func(name string, header http.Header, want string) {
		t.Helper()
		got := strings.Join(c.Exchange("POST", messages, header, body.Bytes(), http.StatusBadRequest, nil, nil), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: violations %q, want %q", name, got, want)
		}
	}
	check("good parts", parts("payload_json", card, "files[0]", "x"), "")
	check("bad payload", parts("payload_json", `{"content":1}`), "request.content: value must be one of string, null")
	check("no payload", parts("content", "x"), `part "content" is neither`)
	check("only a file", parts("files[0]", "x"), "no part payload_json")
	body.Reset()
	body.WriteString(create)
	check("none", nil, `the request's Content-Type "" cannot be read`)
	check("text", http.Header{"Content-Type": {"text/plain"}}, "Content-Type text/plain is not one")
	check("charset", http.Header{"Content-Type": {"application/json; charset=utf-8"}}, "")
}

func TestAnswers(t *testing.T) {
	c := newChecker(t)
	replaced := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %s", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	html := http.Header{"Content-Type": {"text/html"}}
	limits := jsonHeader()
	limits.Set("X-RateLimit-Limit", "5")
	limits.Set("X-RateLimit-Remaining", "4")
	limits.Set("X-RateLimit-Reset", "1785585600.123")
	limits.Set("X-RateLimit-Reset-After", "1.5")
	limits.Set("X-RateLimit-Bucket", "abcd")
	odd := jsonHeader()
	odd.Set("X-RateLimit-Remaining", "many")
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		header                   http.Header
		answer, want             string
	}{
		{"message", "POST", messages, create, 200, limits, posted, ""},
		{"messages", "GET", messages, "", 200, jsonHeader(), "[" + posted + "]", ""},
		{"no messages", "GET", messages, "", 200, jsonHeader(), "[]", ""},
		{"callback", "POST", callback, note, 204, nil, "", ""},
		{"callback with the message", "POST", callback + "?with_response=true", note, 200, jsonHeader(), interaction, ""},
		{"gateway", "GET", "/api/v9/gateway", "", 200, jsonHeader(), `{"url":"ws://127.0.0.1:1"}`, ""},
		{"gateway of bots", "GET", "/api/v10/gateway/bot", "", 200, jsonHeader(), `{"url":"ws://127.0.0.1:1","shards":1,"session_start_limit":{"max_concurrency":1,"remaining":1000,"reset_after":0,"total":1000}}`, ""},
		{"429", "POST", messages, create, 429, jsonHeader(), `{"message":"You are being rate limited.","retry_after":64.57,"global":false}`, ""},
		{"edge", "POST", messages, create, 429, html, "<html>", ""},
		{"bad gateway", "POST", messages, create, 502, html, "<html>", ""},
		{"bare id", "POST", messages, create, 200, jsonHeader(), `{"id":"1"}`, `answer 200.author: property "author" is missing`},
		{"unknown component", "POST", messages, create, 200, jsonHeader(), replaced(posted, `"components":[]`, `"components":[{"type":99,"id":1}]`), "answer 200.components.0: type 99 is not allowed here"},
		{"time", "POST", messages, create, 200, jsonHeader(), replaced(posted, `"2026-08-01T12:00:00.000000+00:00"`, `"now"`), "answer 200.timestamp: not a valid date-time"},
		{"id as a number", "POST", messages, create, 200, jsonHeader(), replaced(posted, `"id":"200000000000000002"`, `"id":200000000000000002`), "answer 200.id: value must be a string"},
		{"one instead of a list", "GET", messages, "", 200, jsonHeader(), posted, "answer 200: value must be one of array, null"},
		{"status", "POST", messages, create, 201, jsonHeader(), posted, "the document knows no answer 201"},
		{"204 with a body", "POST", callback, note, 204, jsonHeader(), "{}", "answer 204: the document knows no body here"},
		{"HTML", "POST", messages, create, 200, html, posted, `answer 200: the Content-Type is "text/html"`},
		{"not JSON", "POST", messages, create, 200, jsonHeader(), "ok", "answer 200: the body is not JSON"},
		{"rate limit header", "POST", messages, create, 200, odd, posted, "X-RateLimit-Remaining"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := c.Exchange(tt.method, tt.path, jsonHeader(), []byte(tt.body), tt.status, tt.header, []byte(tt.answer))
			if tt.want == "" && len(got) > 0 || !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("violations = %q, want %q", got, tt.want)
			}
		})
	}
}

// A violation names the route, and not the token that is in its path.
func TestNoTokenInViolations(t *testing.T) {
	got := refused(newChecker(t), "POST", callback, `{"type":3}`)
	if want := "POST /interactions/{interaction_id}/{interaction_token}/callback: request: type 3 "; len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("violations = %q, want one that starts with %q", got, want)
	}
}

// Many tests share one checker.
func TestConcurrent(t *testing.T) {
	first := newChecker(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			c, err := spec.New()
			if err != nil || c != first {
				t.Errorf("New = %p, %v, want %p", c, err, first)
				return
			}
			for range 4 {
				if got := c.Exchange("POST", messages, jsonHeader(), []byte(card), 200, jsonHeader(), []byte(posted)); len(got) > 0 {
					t.Errorf("card: violations %q", got)
				}
				if got := refused(c, "POST", callback, form); len(got) > 0 {
					t.Errorf("form: violations %q", got)
				}
				bad := fmt.Sprintf(`{"content":"x","key%d":true}`, i)
				if got := refused(c, "POST", messages, bad); len(got) != 1 || !strings.Contains(got[0], fmt.Sprintf("request.key%d: ", i)) {
					t.Errorf("%s: violations %q", bad, got)
				}
			}
		})
	}
	wg.Wait()
}
