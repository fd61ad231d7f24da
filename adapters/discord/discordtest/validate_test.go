package discordtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/discord/discordtest"
)

func x(n int) string { return strings.Repeat("x", n) }

func button(id string) string {
	return `{"type":2,"style":1,"label":"b","custom_id":"` + id + `"}`
}

func row(inner string) string { return `{"type":1,"components":[` + inner + `]}` }

func TestCheckMessage(t *testing.T) {
	msg := func(rest string) string { return `{` + rest + `,` + none + `}` }
	old := func(components string) string { return msg(`"content":"c","components":[` + components + `]`) }
	v2 := func(components string) string { return msg(`"flags":32768,"components":[` + components + `]`) }
	embed := func(e string) string { return msg(`"embeds":[{` + e + `}]`) }
	textOf := func(n int) string { return `{"type":10,"content":"` + x(n) + `"}` }
	for name, c := range map[string]struct{ body, want string }{
		"content":               {msg(`"content":"` + x(2000) + `"`), ""},
		"long content":          {msg(`"content":"` + x(2001) + `"`), "content: Must be 2000 or fewer"},
		"content by runes":      {msg(`"content":"` + strings.Repeat("ä", 2000) + `"`), ""},
		"empty":                 {msg(`"content":" "`), "empty message"},
		"components alone":      {msg(`"components":[` + row(button("a")) + `]`), ""},
		"nulls of discordgo":    {msg(`"content":"c","embeds":null,"components":null,"sticker_ids":null,"tts":false`), ""},
		"nonce":                 {msg(`"content":"c","nonce":"` + x(26) + `"`), "nonce: Must be 25"},
		"attachments":           {msg(`"content":"c","attachments":[{"id":"0"}]`), "attachments that come with the call only"},
		"unknown key":           {msg(`"content":"c","Content":"d"`), `unknown key "Content"`},
		"unknown nested key":    {old(row(`{"type":2,"style":1,"label":"b","custom_id":"a","color":1}`)), `unknown key "color"`},
		"unknown flag":          {msg(`"content":"c","flags":2`), "2 has no effect"},
		"parse and ids":         {`{"content":"c","allowed_mentions":{"parse":["roles"],"roles":["1"]}}`, "mutually exclusive"},
		"parse unknown":         {`{"content":"c","allowed_mentions":{"parse":["all"]}}`, "Value must be one of"},
		"mention no snowflake":  {`{"content":"c","allowed_mentions":{"parse":[],"users":["ann"]}}`, "not snowflake"},
		"5 rows":                {old(repeat(5, func(i int) string { return row(button(fmt.Sprint(i))) })), ""},
		"6 rows":                {old(repeat(6, func(i int) string { return row(button(fmt.Sprint(i))) })), "components: Must be 5 or fewer"},
		"6 buttons":             {old(row(repeat(6, func(i int) string { return button(fmt.Sprint(i)) }))), "between 1 and 5"},
		"empty row":             {old(row("")), "between 1 and 5"},
		"button without row":    {old(button("a")), "must be one of (1)"},
		"button and select":     {old(row(button("a") + `,{"type":5,"custom_id":"s"}`)), "one select"},
		"two selects":           {old(row(`{"type":5,"custom_id":"r"},{"type":5,"custom_id":"s"}`)), "one select"},
		"custom_id twice":       {old(row(button("a")) + "," + row(button("a"))), "cannot be duplicated"},
		"custom_id missing":     {old(row(`{"type":2,"style":1,"label":"b"}`)), "custom_id: This field is required"},
		"custom_id empty":       {old(row(button(""))), "custom_id: This field is required"},
		"custom_id 100":         {old(row(button(x(100)))), ""},
		"custom_id 101":         {old(row(button(x(101)))), "between 1 and 100"},
		"id twice":              {old(row(`{"type":2,"id":7,"style":1,"label":"b","custom_id":"a"},{"type":2,"id":7,"style":1,"label":"b","custom_id":"b"}`)), "id 7 cannot be duplicated"},
		"no label":              {old(row(`{"type":2,"style":1,"custom_id":"a"}`)), "label or an emoji"},
		"emoji":                 {old(row(`{"type":2,"style":1,"custom_id":"a","emoji":{"name":"✅"}}`)), ""},
		"label 81":              {old(row(`{"type":2,"style":1,"label":"` + x(81) + `","custom_id":"a"}`)), "label: Must be 80"},
		"style 7":               {old(row(`{"type":2,"style":7,"label":"b","custom_id":"a"}`)), "less than or equal to 6"},
		"link":                  {old(row(`{"type":2,"style":5,"label":"b","url":"https://example.com/x"}`)), ""},
		"link without url":      {old(row(`{"type":2,"style":5,"label":"b"}`)), "url: This field is required"},
		"link with custom_id":   {old(row(`{"type":2,"style":5,"label":"b","url":"https://example.com","custom_id":"a"}`)), "cannot both"},
		"link to a file":        {old(row(`{"type":2,"style":5,"label":"b","url":"file:///etc/passwd"}`)), "Scheme"},
		"button with url":       {old(row(`{"type":2,"style":1,"label":"b","custom_id":"a","url":"https://example.com"}`)), "Only link buttons"},
		"V2 without the flag":   {old(textOf(5)), "must be one of (1)"},
		"text input in message": {old(row(`{"type":4,"custom_id":"a","style":1}`)), "must be one of (2, 3, 5, 6, 7, 8)"},
		"unknown type":          {old(row(`{"type":99}`)), "must be one of"},
		"no options":            {old(row(`{"type":3,"custom_id":"s","options":[]}`)), "between 1 and 25"},
		"option twice":          {old(row(`{"type":3,"custom_id":"s","options":[{"label":"a","value":"a"},{"label":"b","value":"a"}]}`)), "already used"},
		"min above max":         {old(row(`{"type":3,"custom_id":"s","min_values":2,"max_values":1,"options":[{"label":"a","value":"a"},{"label":"b","value":"b"}]}`)), "greater than max_values"},
		"max above options":     {old(row(`{"type":3,"custom_id":"s","max_values":2,"options":[{"label":"a","value":"a"}]}`)), "number of options"},
		"two defaults of one":   {old(row(`{"type":3,"custom_id":"s","options":[{"label":"a","value":"a","default":true},{"label":"b","value":"b","default":true}]}`)), "More options are default"},

		"V2":                     {v2(textOf(4000)), ""},
		"V2 with content":        {msg(`"content":"c","flags":32768,"components":[` + textOf(5) + `]`), "'content' field cannot be used"},
		"V2 with empty content":  {msg(`"content":"","embeds":null,"flags":32768,"components":[` + textOf(5) + `]`), ""},
		"V2 with embeds":         {msg(`"embeds":[{"title":"t"}],"flags":32768,"components":[` + textOf(5) + `]`), "'embeds' field cannot be used"},
		"V2 text":                {v2(textOf(2000) + "," + textOf(2001)), "texts of all components"},
		"V2 empty text":          {v2(textOf(0)), "content: This field is required"},
		"V2 empty":               {v2(""), "empty message"},
		"V2 40":                  {v2(repeat(20, func(int) string { return `{"type":17,"components":[` + textOf(1) + `]}` })), ""},
		"V2 42":                  {v2(repeat(21, func(int) string { return `{"type":17,"components":[` + textOf(1) + `]}` })), "nested ones too"},
		"V2 bare button":         {v2(button("a")), "must be one of (1, 9, 10"},
		"container in container": {v2(`{"type":17,"components":[{"type":17,"components":[` + textOf(1) + `]}]}`), "must be one of (1, 9, 10"},
		"colour":                 {v2(`{"type":17,"accent_color":16777216,"components":[` + textOf(1) + `]}`), "less than or equal"},
		"section":                {v2(`{"type":9,"components":[` + textOf(1) + `],"accessory":` + button("a") + `}`), ""},
		"section without":        {v2(`{"type":9,"components":[` + textOf(1) + `]}`), "accessory: This field is required"},
		"section of 4":           {v2(`{"type":9,"components":[` + repeat(4, func(int) string { return textOf(1) }) + `],"accessory":` + button("a") + `}`), "between 1 and 3"},
		"separator":              {v2(textOf(1) + `,{"type":14,"spacing":3}`), "less than or equal to 2"},
		"thumbnail":              {v2(`{"type":9,"components":[` + textOf(1) + `],"accessory":{"type":11,"media":{"url":"https://example.com/x.png"}}}`), ""},
		"file":                   {v2(`{"type":13,"file":{"url":"attachment://x"}}`), "does not know files"},

		"embed":             {embed(`"title":"t","fields":[{"name":"n","value":"v","inline":true}],"footer":{"text":"f"},"color":255,"timestamp":"2026-08-01T12:00:00Z"`), ""},
		"embed title":       {embed(`"title":"` + x(257) + `"`), "256 or fewer"},
		"embed text":        {embed(`"description":"` + x(4097) + `"`), "4096 or fewer"},
		"26 fields":         {embed(`"fields":[` + repeat(26, func(int) string { return `{"name":"n","value":"v"}` }) + `]`), "25 or fewer"},
		"empty value":       {embed(`"fields":[{"name":"n","value":""}]`), "value: This field is required"},
		"blank value":       {embed(`"fields":[{"name":"n","value":"  "}]`), "value: This field is required"},
		"value 1025":        {embed(`"fields":[{"name":"n","value":"` + x(1025) + `"}]`), "between 1 and 1024"},
		"name 257":          {embed(`"fields":[{"name":"` + x(257) + `","value":"v"}]`), "between 1 and 256"},
		"footer":            {embed(`"title":"t","footer":{"text":"` + x(2049) + `"}`), "between 1 and 2048"},
		"embed url":         {embed(`"title":"t","url":"javascript:alert(1)"`), "Scheme"},
		"embed colour":      {embed(`"title":"t","color":-1`), "greater than or equal"},
		"embed timestamp":   {embed(`"title":"t","timestamp":"today"`), "ISO8601"},
		"empty embed":       {embed(`"color":1`), "description: This field is required"},
		"11 embeds":         {msg(`"embeds":[` + repeat(11, func(int) string { return `{"title":"t"}` }) + `]`), "10 or fewer"},
		"embeds 6000":       {msg(`"embeds":[{"description":"` + x(3000) + `"},{"description":"` + x(3000) + `"}]`), ""},
		"embeds above 6000": {msg(`"embeds":[{"description":"` + x(3000) + `"},{"description":"` + x(3000) + `","title":"x"}]`), "maximum size of 6000"},
	} {
		got := strings.Join(discordtest.CheckMessage([]byte(c.body)), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestCheckForm(t *testing.T) {
	data := func(components string) string {
		return `{"custom_id":"f","title":"F","components":[` + components + `]}`
	}
	label := func(c string) string { return `{"type":18,"label":"L","component":` + c + `}` }
	input := func(rest string) string { return label(`{"type":4,"custom_id":"i","style":1` + rest + `}`) }
	for name, c := range map[string]struct{ body, want string }{
		"good":             {strings.TrimSuffix(strings.SplitN(form, `"data":`, 2)[1], "}"), ""},
		"title 46":         {`{"custom_id":"f","title":"` + x(46) + `","components":[` + input("") + `]}`, "between 1 and 45"},
		"no custom_id":     {`{"title":"F","components":[` + input("") + `]}`, "custom_id: This field is required"},
		"six":              {data(repeat(6, func(i int) string { return label(fmt.Sprintf(`{"type":4,"custom_id":"i%d","style":1}`, i)) })), "between 1 and 5"},
		"none":             {data(""), "between 1 and 5"},
		"label 46":         {data(`{"type":18,"label":"` + x(46) + `","component":{"type":4,"custom_id":"i","style":1}}`), "between 1 and 45"},
		"bare input":       {data(`{"type":4,"custom_id":"i","style":1}`), "must be one of (1, 10, 18)"},
		"button":           {data(label(button("b"))), "must be one of (3, 4"},
		"label in label":   {data(input(`,"label":"x"`)), "no label of its own"},
		"min above max":    {data(input(`,"min_length":5,"max_length":4`)), "greater than max_length"},
		"max 4001":         {data(input(`,"max_length":4001`)), "less than or equal to 4000"},
		"max 0":            {data(input(`,"max_length":0`)), "greater than or equal to 1"},
		"value":            {data(input(`,"value":"` + x(4001) + `"`)), "4000 or fewer"},
		"placeholder":      {data(input(`,"placeholder":"` + x(101) + `"`)), "100 or fewer"},
		"custom_id twice":  {data(input("") + "," + input("")), "cannot be duplicated"},
		"one radio":        {data(label(`{"type":21,"custom_id":"r","options":[{"label":"a","value":"a"}]}`)), "between 2 and 10"},
		"two radio on":     {data(label(`{"type":21,"custom_id":"r","options":[{"label":"a","value":"a","default":true},{"label":"b","value":"b","default":true}]}`)), "Only one option"},
		"disabled select":  {data(label(`{"type":3,"custom_id":"s","disabled":true,"options":[{"label":"a","value":"a"}]}`)), "cannot be disabled"},
		"select":           {data(label(`{"type":3,"custom_id":"s","disabled":false,"placeholder":"","options":[{"label":"a","value":"a","description":""}]}`)), ""},
		"min 0 required":   {data(label(`{"type":3,"custom_id":"s","min_values":0,"options":[{"label":"a","value":"a"}]}`)), "cannot be 0"},
		"old row":          {data(row(`{"type":4,"custom_id":"i","style":1,"label":"L"}`)), ""},
		"old row unnamed":  {data(row(`{"type":4,"custom_id":"i","style":1}`)), "label: This field is required"},
		"unknown key":      {data(input(`,"min":1`)), `unknown key "min"`},
		"11 checkboxes":    {data(label(`{"type":22,"custom_id":"c","options":[` + repeat(11, func(i int) string { return fmt.Sprintf(`{"label":"a","value":"%d"}`, i) }) + `]}`)), "between 1 and 10"},
		"checkbox":         {data(label(`{"type":23,"custom_id":"c","default":true}`)), ""},
		"text":             {data(`{"type":10,"content":"read"},` + input("")), ""},
		"label text empty": {data(`{"type":18,"label":"L","description":"","component":{"type":4,"custom_id":"i","style":1}}`), "description: This field is required"},
	} {
		got := strings.Join(discordtest.CheckForm([]byte(c.body)), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestInvalidFormBody(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	a := rest(s, "POST", "/channels/"+epm+"/messages", `{"content":"c","components":[`+row(button(x(101)))+`],`+none+`}`)
	want(t, "post", a, 400, 50035)
	const exp = `{"code":50035,"errors":{"components":{"0":{"components":{"0":{"custom_id":{"_errors":[{"code":"BASE_TYPE_BAD_LENGTH",` +
		`"message":"Must be between 1 and 100 in length."}]}}}}}},"message":"Invalid Form Body"}`
	if string(a.raw) != exp {
		t.Errorf("answer = %s\nwant %s", a.raw, exp)
	}
	if len(s.Messages(epm)) != 0 {
		t.Error("posted all the same")
	}
}

func TestEditsKeepWhatIsNotSent(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	path := "/channels/" + epm + "/messages/"
	id := post(t, s, `{"content":"c","embeds":[{"title":"t"}],"components":[`+row(button("a"))+`],`+none+`}`)
	want(t, "buttons go", rest(s, "PATCH", path+id, `{"components":[],`+none+`}`), 200, 0)
	if m := s.Messages(epm)[0]; m.Content != "c" || m.Embeds == nil || m.Components != nil {
		t.Errorf("message = %+v", m)
	}
	want(t, "to V2 with content", rest(s, "PATCH", path+id, `{"flags":32768,"components":[{"type":10,"content":"x"}],`+none+`}`), 400, 50035)
	want(t, "to V2", rest(s, "PATCH", path+id, `{"content":null,"embeds":null,"flags":32768,"components":[{"type":10,"content":"x"}],`+none+`}`), 200, 0)
	want(t, "V2 stays", rest(s, "PATCH", path+id, `{"components":[{"type":10,"id":9,"content":"y"},{"type":10,"content":"z"}],`+none+`}`), 200, 0)
	if m := s.Messages(epm)[0]; m.Flags&discordtest.FlagComponentsV2 == 0 || m.Content != "" || m.Edits != 3 ||
		string(m.Components) != `[{"content":"y","id":9,"type":10},{"content":"z","id":1,"type":10}]` {
		t.Errorf("message = %+v %s", m, m.Components)
	}
	want(t, "back from V2", rest(s, "PATCH", path+id, `{"flags":0,"content":"c","components":[],`+none+`}`), 400, 50035)
	want(t, "empty", rest(s, "PATCH", path+id, `{"components":[],`+none+`}`), 400, 50006)
	noViolations(t, s)
}
