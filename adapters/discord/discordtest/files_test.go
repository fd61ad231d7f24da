package discordtest_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/discord/discordtest"
)

// withFile is a message with a file beside it, and the type of that body.
func withFile(t *testing.T, payload, part, name string, content []byte) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	add := func(disposition, kind string, content []byte) {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {kind}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if payload != "" {
		add(`form-data; name="payload_json"`, "application/json", []byte(payload))
	}
	add(fmt.Sprintf(`form-data; name="%s"; filename="%s"`, part, name), "image/png", content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func dot(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	shown    = `{"type":12,"items":[{"media":{"url":"attachment://a.png"},"description":"a dot"}]}`
	unsaid   = `{"type":12,"items":[{"media":{"url":"attachment://a.png"}}]}`
	pictured = `{"flags":32768,"components":[` + shown + `],"attachments":[{"id":"0","filename":"a.png","description":"a dot"}],` + none + `}`
)

// TestFilesOfMessages: what Discord refuses of files, and what nobody would
// see or hear of.
func TestFilesOfMessages(t *testing.T) {
	for name, c := range map[string]struct {
		payload, part, name string
		content             []byte
		status, code        int
		violation           string
	}{
		"Shown":         {pictured, "files[0]", "a.png", dot(t), 200, 0, ""},
		"NotThere":      {pictured, "files[0]", "b.png", dot(t), 200, 0, ""}, // the list of attachments gives the name
		"OtherName":     {strings.Replace(pictured, `"filename":"a.png",`, "", 1), "files[0]", "b.png", dot(t), 400, 50035, ""},
		"NotListed":     {`{"flags":32768,"components":[` + shown + `],` + none + `}`, "files[0]", "a.png", dot(t), 200, 0, ""},
		"OtherPlace":    {pictured, "files[1]", "a.png", dot(t), 400, 50035, ""},
		"InContainer":   {`{"flags":32768,"components":[{"type":17,"components":[` + strings.ReplaceAll(shown, "a.png", "c.png") + `]}],` + none + `}`, "files[0]", "a.png", dot(t), 400, 50035, ""},
		"TooLarge":      {pictured, "files[0]", "a.png", make([]byte, 10<<20+1), 413, 40005, ""},
		"NoPayload":     {"", "files[0]", "a.png", dot(t), 400, 50035, ""},
		"NoPicture":     {pictured, "files[0]", "a.png", []byte("text"), 200, 0, "is no picture"},
		"NotSeen":       {`{"flags":32768,"components":[{"type":10,"content":"c"}],` + none + `}`, "files[0]", "a.png", dot(t), 200, 0, "is shown by no component"},
		"WithoutSaying": {`{"flags":32768,"components":[` + unsaid + `],` + none + `}`, "files[0]", "a.png", dot(t), 200, 0, "without a description"},
		"OtherPart":     {pictured, "file", "a.png", dot(t), 400, 50035, "neither payload_json"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFake(t, discordtest.Config{})
			body, kind := withFile(t, c.payload, c.part, c.name, c.content)
			a := restWith(s, http.MethodPost, "/channels/"+epm+"/messages", body, http.Header{
				"Authorization": {"Bot " + discordtest.BotToken}, "Content-Type": {kind},
				"User-Agent": {"DiscordBot (https://github.com/countersign/countersign, test)"},
			})
			want(t, "post", a, c.status, c.code)
			got := s.Violations()
			if c.violation == "" {
				noViolations(t, s)
			} else if !slices.ContainsFunc(got, func(v string) bool { return strings.Contains(v, c.violation) }) {
				t.Errorf("violations = %q, want %q", got, c.violation)
			}
		})
	}
}

// TestFilesOfAnswers: a picture may follow an answer and not be put into it,
// and no other call takes files.
func TestFilesOfAnswers(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	done := make(chan struct{})
	hidden := strings.Replace(pictured, "32768", "32832", 1)
	send := func(in interaction, method, path, payload string) answer {
		body, kind := withFile(t, payload, "files[0]", "a.png", dot(t))
		return restWith(s, method, path, body, http.Header{
			"Content-Type": {kind}, "User-Agent": {"DiscordBot (https://github.com/countersign/countersign, test)"},
		})
	}
	err := click(t, s, func(in interaction) {
		defer close(done)
		hook := "/webhooks/" + discordtest.ApplicationID + "/" + in.Token
		want(t, "a callback with a file", send(in, "POST", "/interactions/"+in.ID+"/"+in.Token+"/callback", `{"type":5,"data":{"flags":64}}`), 400, 50035)
		want(t, "defer", in.callback(`{"type":5,"data":{"flags":64}}`), 204, 0)
		want(t, "a picture in the deferred answer", send(in, "PATCH", hook+"/messages/@original", pictured), 400, 50035)
		want(t, "words in the deferred answer", in.hook("PATCH", "/messages/@original", `{"content":"one",`+none+`}`), 200, 0)
		a := send(in, "POST", hook, hidden)
		want(t, "a picture behind it", a, 200, 0)
		if !strings.Contains(string(a.raw), `"width":3`) || strings.Contains(string(a.raw), "attachment://") {
			t.Errorf("the picture behind it is answered %s", a.raw)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	<-done
	e := s.Person(ann).Ephemerals()
	if len(e) != 2 || len(e[0].Files) != 0 || len(e[1].Files) != 1 || e[1].Files[0].Description != "a dot" {
		t.Errorf("ephemerals = %+v", e)
	}
	if got := s.Violations(); len(got) != 1 || !strings.Contains(got[0], "files in messages only") {
		t.Errorf("violations = %q, want one about the callback", got)
	}
}
