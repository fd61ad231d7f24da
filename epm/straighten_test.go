package epm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/epm/epmtest"
)

// TestTemplatesAreMended: what an author or an editor did to a template, and
// can be meant in one way only. To see it fail, let straighten return its text.
func TestTemplatesAreMended(t *testing.T) {
	w := newWorld(t)
	edit := func(from, to string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, from) {
				t.Fatalf("no %q in %s", from, s)
			}
			return strings.ReplaceAll(s, from, to)
		}
	}
	asked := `"DurationRequested": "3600"`
	oneLine := func(next func(string) string) func(string) string {
		return func(s string) string { return next(strings.ReplaceAll(s, "\n", " ")) }
	}
	for name, c := range map[string]struct {
		edit func(string) string
		asks string // the duration
	}{
		"UnquotedUnfilled":    {edit(asked, `"DurationRequested": %%DurationRequested%%`), ""},
		"UnquotedUnfilledOne": {oneLine(edit(asked, `"DurationRequested":%%DurationRequested%%`)), ""},
		"UnquotedFilled":      {edit(asked, `"DurationRequested": 3600`), "3600"},
		"UnquotedWord":        {edit(asked, `"DurationRequested": Once`), "Once"},
		"Nothing":             {edit(asked, `"DurationRequested": `), ""},
		"NothingOneLine":      {oneLine(edit(asked, `"DurationRequested":`)), ""},
		"NothingInTheMiddle":  {edit(`"GroupId": "group-1",`, `"GroupId": ,`), "3600"},
		"NothingNoComma":      {edit(`"GroupId": "group-1",`, `"GroupId": `), "3600"},
		"NothingNoCommaUnfilled": {func(s string) string {
			return edit(`"GroupId": "group-1",`, `"GroupId": `)(edit(asked, `"DurationRequested": %%X%%`)(s))
		}, ""},
		"SmartQuotes": {edit(`"`, "”"), "3600"},
		"SmartQuotesPairs": {func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(s, `": "`, `“: “`), `"`, "“")
		}, "3600"},
		"SmartQuotesLow":       {func(s string) string { return strings.ReplaceAll(s, `"`, "„") }, "3600"},
		"SmartQuotesOneLine":   {oneLine(edit(`"`, "”")), "3600"},
		"SingleQuotes":         {edit(`"`, "'"), "3600"},
		"ZeroWidth":            {edit("\n", "\n\u200b"), "3600"},
		"ZeroWidthAtTheEnd":    {func(s string) string { return s + "\u200b\u2060" }, "3600"},
		"NoBreakSpaces":        {edit("\n  ", "\n\u00a0 "), "3600"},
		"NoBreakSpacesOneLine": {oneLine(edit(`": "`, "\":\u00a0\"")), "3600"},
		"BOMWithin":            {edit("{\n", "{\ufeff\n"), "3600"},
		"LineComments":         {edit(",\n", ", // says what: it's\n"), "3600"},
		"CommentAtTheEnd":      {func(s string) string { return s + "\n// the end }" }, "3600"},
		"BlockComments":        {edit("{\n", "{ /* EPM's\n template: */ \n"), "3600"},
		"HashComments":         {edit("{\n", "{\n# the template\n"), "3600"},
		"TrailingComma":        {edit(asked, asked+","), "3600"},
		"TrailingCommaOneLine": {oneLine(edit(asked, asked+",")), "3600"},
		"MissingComma":         {edit(",\n", "\n"), "3600"},
		"HTML":                 {edit(`"`, "&quot;"), "3600"},
		"HTMLNumbers":          {edit(`"`, "&#34;"), "3600"},
		"Wrapped":              {func(s string) string { return `{"body": ` + s + `}` }, "3600"},
		"WrappedAndNothing":    {func(s string) string { return `{"body": ` + edit(asked, `"DurationRequested": `)(s) + `}` }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			body := c.edit(strings.TrimSpace(string(w.body(epmtest.AdminCreated, epmtest.BodyOptions{Values: map[string]string{"UserName": `ACME\bob`}}))))
			q := parse(t, []byte(body)).News.Request
			if q.User != `ACME\bob` || q.Reason != "patch day" || q.Requested != c.asks || q.SuspectedForgery || q.EPMNumber == "" || q.UserID != "S-1-5-21-1" {
				t.Errorf("user %q, reason %q, asked for %q, number %q, suspected %t\n%s", q.User, q.Reason, q.Requested, q.EPMNumber, q.SuspectedForgery, body)
			}
		})
	}
}

// TestMendedTemplatesStayHonest: what somebody writes into a value of a template
// that has to be mended is still no field of EPM's.
func TestMendedTemplatesStayHonest(t *testing.T) {
	w := newWorld(t)
	for name, edit := range map[string]func(string) string{
		"Unfilled":    func(s string) string { return strings.Replace(s, `"3600"`, "%%DurationRequested%%", 1) },
		"SmartQuotes": func(s string) string { return strings.ReplaceAll(s, `"`, "”") },
		"Comments":    func(s string) string { return strings.Replace(s, "{", "{ // x\n", 1) },
		"Wrapped":     func(s string) string { return `{"body":` + s + "}" },
		"HTML":        func(s string) string { return strings.ReplaceAll(s, `"`, "&quot;") },
	} {
		for _, reason := range []string{
			`x", "RequestId": "` + epmtest.OtherRequestID, `x", "UserName": "CEO", "y": "`, `x", "EventType": "JIT_ADMIN_TICKET_UPDATED", "Decision": "Approved`,
			`x", "z": {"a": "b"}, "y": "`, "x\",\n\"UserId\": \"S-1-5-18\",\n\"y\": \"",
		} {
			body := edit(string(w.body(epmtest.AdminCreated, epmtest.BodyOptions{Escape: epmtest.Raw, Values: tame(reason)})))
			p, err := Parse([]byte(body))
			if err != nil {
				continue // refused, and kept
			}
			if q := p.News.Request; q == nil || q.ID != requestID || q.User != "alice" || !q.SuspectedForgery {
				t.Errorf("%s %q: %+v", name, reason, q)
			}
		}
	}
	// Comments and strings that make EPM's own fields vanish.
	for _, pair := range [][2]string{
		{`x", /*`, `*/ "user": "CEO`}, {`x", "y": “`, `”, "user": "CEO`}, {`x", "y": '`, `', "user": "CEO`}, {`x", //`, `y`}, {"x\",\n#", "y"},
	} {
		for _, oneLine := range []bool{false, true} {
			values := tame(pair[0])
			values["CmdArgs"], values["User"] = pair[1], "bob"
			body := string(w.body(epmtest.AppCreated, epmtest.BodyOptions{Escape: epmtest.Raw, Values: values}))
			if oneLine {
				body = strings.ReplaceAll(body, "\n", " ")
			}
			if p, err := Parse([]byte(body)); err == nil && !p.News.Request.SuspectedForgery && (p.News.Request.User != "bob" || p.News.Request.Host == "" || p.News.Request.Reason != pair[0]) {
				t.Errorf("%q, %q: user %q, reason %q, not suspected", pair[0], pair[1], p.News.Request.User, p.News.Request.Reason)
			}
		}
	}
	// A comment or a smart quote in a value is part of it.
	for _, reason := range []string{"see https://example.com/a // b", "/* x */", "it's “quoted”", "# 1", "a, }", ": ,", "%%X%% y"} {
		body := strings.Replace(string(w.body(epmtest.AdminCreated, epmtest.BodyOptions{Values: map[string]string{"Reason": reason}})), `"3600"`, "%%DurationRequested%%", 1)
		if q := parse(t, []byte(body)).News.Request; q.Reason != reason || q.SuspectedForgery || q.Requested != "" {
			t.Errorf("%q is read as %q, suspected %t", reason, q.Reason, q.SuspectedForgery)
		}
	}
}

// TestUnreadableSaysWhere: the answer names line and column of what is wrong,
// not of what was mended before it.
func TestUnreadableSaysWhere(t *testing.T) {
	for body, want := range map[string]string{
		"hello":                               "line 1, column 1 ",
		"{}{}":                                "line 1, column 3 ",
		"{\n  \"a\": \"b\",\n  \"c\" \"d\" }": "line 3, column 7 ",
		"{\n\u00a0 \"a\": %%A%%,\n \"é\": [1 2], \"x\": ?\n}": "line 3, column 10 ",
		"{\r\n\"a\": C:\\x\"y,\r\n\"b\": 1}":                  "line 2, column 6 ",
		"{\"a\": \"C:\\x\", ]}":                               "line 1, column 15 ",
	} {
		_, err := Parse([]byte(body))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "countersign templates") {
			t.Errorf("%q: %v, want %q in it", body, err, want)
		}
	}
}

// TestUnfilledSaysWhere: the answer names line and column of a placeholder that
// must be filled, as for what cannot be read.
func TestUnfilledSaysWhere(t *testing.T) {
	for body, want := range map[string]string{
		`{"EventType": "%%EventType%%", "RequestId": "x"}`:                                  "left unfilled: write the event's name into the webhook's template, as in the output of \"countersign templates\" (line 1, column 16)",
		"{\n  \"RequestId\": \"x\",\n  \"EventType\": %%EventType%%\n}":                     " (line 3, column 16)",
		"\ufeff{\r\n\"Reason\": \"é\",\r\n\"Name\": \"ü\", \"EventType\":\"%%Type%%\"\r\n}": " (line 3, column 27)",
		"{\n“eventtype” : “%%EVENTTYPE%%”,\n\"RequestId\": \"x\"}":                          " (line 2, column 16)",
		"{'EventType': '%%EventType%%', // the event\n'RequestId': 'x',}":                   " (line 1, column 16)",
		"{\n\"EventType\": \"JIT_ADMIN_TICKET_CREATED\",\n\"RequestId\": %%RequestId%%}":    "left unfilled or is null; use the webhook templates that \"countersign templates\" prints (line 3, column 14)",
		`{"EventType": "JIT_ADMIN_TICKET_CREATED", "RequestId": null}`:                      " (line 1, column 56)",
	} {
		_, err := Parse([]byte(body))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %q at its end", body, err, want)
		}
	}
}

// TestMissingQuotesAndColons: the value of a field that is one word is not
// repaired to hold the fields that follow it.
func TestMissingQuotesAndColons(t *testing.T) {
	for body, where := range map[string]string{
		"{\n\"EventType\": \"JIT_ADMIN_TICKET_CREATED\",\n\"RequestId\": \"x\",\n\"Reason: \"a\"\n}":                "line 4, column 11",
		"{\"EventType\": \"JIT_ADMIN_TICKET_CREATED\",\r\n\"é\": \"x\", \"RequestId\" \"x\"\r\n}":                   "line 2, column 23",
		"{\n\"EventType\": \"JIT_ADMIN_TICKET_CREATED\",\n\"RequestId\": \"x\",\n\"Reason\" \"a\"\n}":               "line 4, column 10",
		"{\n\"EventType\" \"JIT_ADMIN_TICKET_CREATED\",\n\"RequestId\": \"x\"\n}":                                   "line 2, column 13",
		"{\n\"RequestId\": \"x\"\n\"UserName\": \"a\",\n\"EventType\" : \"JIT_ADMIN_TICKET_CREATED\" x\n}":          "line",
		"{\n\"EventType\": \"JIT_ADMIN_TICKET_CREATED\",\n\"Reason\": \"a\",\n\"RequestId\": \"x\" \"y\": \"z\"\n}": "line 4",
	} {
		p, err := Parse([]byte(body))
		if err == nil || !strings.Contains(err.Error(), where) {
			t.Errorf("%q: %+v, %v; want %q in it", body, p, err, where)
		}
	}
}

// TestHostileBodiesAreReadInOneGo: what would make a repair look again and again
// at the same bytes.
func TestHostileBodiesAreReadInOneGo(t *testing.T) {
	for _, s := range []string{"#", " #", "/*", "//", ":", `"\"`, `\"`, "'", "“", ",", ": ", ":\n\"", "%%", "{", "\u200b", "\n", "'a", ", //"} {
		for _, before := range []string{"{", `{"a":`} {
			body := before + strings.Repeat(s, maxBody/2/len(s)) + "}"
			if _, err := Parse([]byte(body)); err == nil {
				t.Errorf("%s%s…: no error", before, s)
			}
		}
	}
}

// TestNetworkShares: a share, sent without escapes, whose first two backslashes
// could be one.
func TestNetworkShares(t *testing.T) {
	for raw, want := range map[string]string{
		`\\filer/x.exe`: `\\filer/x.exe`, `\\\\filer\\x.exe`: `\\filer\x.exe`, `\\Device\\HarddiskVolume3\\x.exe`: `\Device\HarddiskVolume3\x.exe`, `\\??\\C:\\x.exe`: `\??\C:\x.exe`, `C:\\x.exe`: `C:\x.exe`,
	} {
		body := fmt.Sprintf(`{"EventType":"URM_Native_Ticket_Created","RequestId":%q,"requestInfo":{"user":"jane","filePathObjectId":"%s"}}`, requestID, raw)
		if q := parse(t, []byte(body)).News.Request; q.Path != want || q.SuspectedForgery {
			t.Errorf("%s: %q, want %q; suspected %t", raw, q.Path, want, q.SuspectedForgery)
		}
	}
}
