package main

import (
	"bytes"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/store/storetest"
	"github.com/countersign/countersign/tickets"
)

// hostileText is what somebody may write who wants to be taken for a record.
const hostileText = "=HYPERLINK(\"http://x\") | a\\b=c rt=1 act=approve\nCEF:0|Evil|Evil|1|decided|decided|9|act=approve\r\n\u202e\x00é \"quoted\", and more"

// historied is a store with a ticket of which everything happened, another
// one, and a changed setting.
func historied(t *testing.T, path string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	value := hostileText
	_, err = s.Configure(t.Context(), 0, []tickets.Change{{At: storetest.Now.Add(-time.Hour), By: storetest.Ann, Key: tickets.KeyCategory, New: &value}})
	must(err)
	for _, id := range []string{"a", "b"} {
		in := storetest.Asked(id)
		_, made, err := s.Accept(t.Context(), in, storetest.Asks(in, storetest.Now))
		must(err)
		if id == "b" {
			continue
		}
		_, err = s.Update(t.Context(), made.Number, func(t *tickets.Ticket) error {
			at := storetest.Now.Add(24 * time.Hour)
			t.RecordPost(storetest.Place, "1.2", t, at)
			d := storetest.Approval(at)
			d.Reason, d.By.Name = hostileText, hostileText
			return t.Decide(d, storetest.Rules())
		})
		must(err)
		up := storetest.Concluded(id)
		up.Update.Outcome.By = hostileText
		_, _, err = s.Accept(t.Context(), up, storetest.Concludes(up))
		must(err)
	}
	_, err = s.Configure(t.Context(), 1, []tickets.Change{{At: storetest.Now.Add(48 * time.Hour), By: storetest.Ann, Key: tickets.KeyCategory}})
	must(err)
}

func auditDesk(t *testing.T) (*desk, string) {
	path := filepath.Join(t.TempDir(), "a.db")
	historied(t, path)
	return newDesk(t, "sqlite:"+path), path
}

func TestAuditVerify(t *testing.T) {
	d, path := auditDesk(t)
	d.prints("Looked through 2 tickets with 5 events, 2 changes of the settings and 3 webhooks.\nEverything is as it was written.\n", "audit", "verify")
	checkpoints := checkpointsOf(t, path)
	d.prints("Compared 3 checkpoints.", "audit", "verify", "--checkpoints", checkpoints)

	// One byte of the reason.
	change(t, path, 1001, "quoted", "quotes")
	got, err := d.types("audit", "verify")
	if err == nil || !strings.Contains(got, "JIT-1001: seal: ") || !strings.Contains(got, "JIT-1001, event 3: record_mismatch: the record's decision is not the one of its history") {
		t.Errorf("after a byte was changed: %q, %v; want the place", got, err)
	}
	got, err = d.types("audit", "verify", "--json")
	var last string
	for line := range strings.Lines(got) {
		var f store.Finding
		if json.Unmarshal([]byte(line), &f) != nil {
			t.Errorf("%q is no JSON", line)
		}
		last = line
	}
	if err == nil || !strings.Contains(got, `{"fault":"record_mismatch","ticket":"JIT-1001","event":3,`) || !strings.Contains(last, `{"verified":{"tickets":2,`) {
		t.Errorf("as JSON: %q, %v", got, err)
	}
	change(t, path, 1001, "quotes", "quoted")
	d.prints("Everything is as it was written.", "audit", "verify", "--checkpoints", checkpoints)

	// A backup that was restored is proved by the checkpoints of before.
	d.prints("", "store", "copy", "sqlite:"+path, "sqlite:"+path+".backup")
	d.env.Store = secret("sqlite:" + path + ".backup")
	d.prints("Everything is as it was written.", "audit", "verify", "--checkpoints", checkpoints)

	// Another store, whole in itself, is not the one of the checkpoints.
	other := filepath.Join(t.TempDir(), "b.db")
	historied(t, other)
	change(t, other, 1001, `"id":"a","request"`, `"id":"x","request"`)
	d.env.Store = secret("sqlite:" + other)
	if got, err := d.types("audit", "verify", "--checkpoints", checkpoints); err == nil || !strings.Contains(got, "JIT-1001") {
		t.Errorf("another store: %q, %v", got, err)
	}
	for _, args := range [][]string{{"audit"}, {"audit", "look"}, {"audit", "verify", "more"}, {"audit", "verify", "--checkpoints", path + ".none"}, {"audit", "verify", "--checkpoints", path}} {
		if got, err := d.types(args...); err == nil {
			t.Errorf("%v prints %q, want an error", args, got)
		}
	}
}

// checkpointsOf writes the checkpoints of a store into a file.
func checkpointsOf(t *testing.T, path string) string {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := s.List(t.Context(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("a line of another log\n")
	for _, tk := range list {
		doc, _ := json.Marshal(tk.Checkpoint())
		fmt.Fprintf(&b, "%s\n", doc)
	}
	changes, err := s.Changes(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, `{"time":"2026-01-31T13:05:00Z","level":"INFO","msg":"audit checkpoint","ticket":"settings","events":%d,"hash":"%s"}`+"\n", changes[0].N, changes[0].Hash)
	name := filepath.Join(t.TempDir(), "checkpoints.jsonl")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// change replaces a text in the stored form of a ticket, behind the store's
// back.
func change(t *testing.T, path string, seq int64, old, with string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	forms, err := s.FormsAfter(t.Context(), seq-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(forms[0].Doc, []byte(old)) {
		t.Fatalf("the record has no %s", old)
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	doc := append([]byte{0}, bytes.Replace(forms[0].Doc, []byte(old), []byte(with), 1)...)
	if _, err := db.ExecContext(t.Context(), `UPDATE tickets SET doc = ? WHERE seq = ?`, doc, seq); err != nil {
		t.Fatal(err)
	}
}

// The export parses back, in every format, whatever people wrote.
func TestAuditExport(t *testing.T) {
	d, _ := auditDesk(t)
	hash := map[string]string{} // by ticket
	chained := func(of, before string, raw json.RawMessage) string {
		h, err := tickets.Link(before, raw)
		if err != nil {
			t.Fatal(err)
		}
		hash[of] = h
		return h
	}
	var kinds []string
	for line := range strings.Lines(d.prints("", "audit", "export")) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if r.Change != nil {
			if hash["settings"] == "" {
				hash["settings"] = tickets.ChangesRoot()
			}
			var c tickets.Change
			if err := json.Unmarshal(r.Change, &c); err != nil || chained("settings", hash["settings"], r.Change) != c.Hash {
				t.Errorf("change %s does not follow, %v", r.Change, err)
			}
			kinds = append(kinds, "setting")
			continue
		}
		of := string(r.Ticket)
		if hash[of] == "" {
			hash[of] = tickets.Root(r.ID, r.Created)
		}
		var e tickets.Event
		if err := json.Unmarshal(r.Event, &e); err != nil || chained(of, hash[of], r.Event) != e.Hash {
			t.Errorf("event %s does not follow, %v", r.Event, err)
		}
		if e.Decision != nil && e.Decision.Reason != hostileText {
			t.Errorf("the reason is %q", e.Decision.Reason)
		}
		kinds = append(kinds, string(e.Kind))
	}
	if got := fmt.Sprint(kinds); got != "[received card_posted decided outcome received setting setting]" {
		t.Errorf("exported %s", got)
	}

	rows, err := csv.NewReader(strings.NewReader(d.prints("", "audit", "export", "--format", "csv"))).ReadAll()
	if err != nil || len(rows) != 8 || len(rows[0]) != len(auditColumns) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		for i, cell := range row {
			if strings.ContainsAny(cell, "\n\r\u202e\x00") || strings.HasPrefix(cell, "=") {
				t.Errorf("%s is %q", rows[0][i], cell)
			}
		}
	}
	if r := rows[3]; r[0] != "JIT-1001" || r[1] != "3" || r[3] != "decided" || r[4] != "slack:U1" || r[6] != "approve" || r[7] != "'"+wording.Line(hostileText) || r[len(r)-1] != hash0(t, d) {
		t.Errorf("the decision is %q", r)
	}

	lines := strings.Split(strings.TrimSuffix(d.prints("", "audit", "export", "--format", "cef"), "\n"), "\n")
	if len(lines) != 7 {
		t.Fatalf("%d lines, want 7", len(lines))
	}
	header, ext := readCEF(t, lines[2])
	if want := []string{"CEF:0", "Countersign", "Countersign", versionText(), "decided", "decided", "5"}; fmt.Sprint(header) != fmt.Sprint(want) {
		t.Errorf("header %q, want %q", header, want)
	}
	rt := strconv.FormatInt(storetest.Now.Add(24*time.Hour).UnixMilli(), 10)
	reason := strings.ReplaceAll(cefText(hostileText, 1023), "\n", "\n")
	for key, want := range map[string]string{"rt": rt, "externalId": "JIT-1001", "cn1": "3", "cn1Label": "event", "act": "approve", "suid": "slack:U1", "reason": reason, "suser": reason} {
		if ext[key] != want {
			t.Errorf("%s is %q, want %q", key, ext[key], want)
		}
	}
	if !strings.Contains(ext["reason"], "\nCEF:0|Evil") || strings.ContainsAny(ext["reason"], "\u202e\x00") {
		t.Errorf("the reason is %q; want its line break, and nothing that acts", ext["reason"])
	}
	if _, ext := readCEF(t, lines[3]); ext["duser"] != reason || ext["act"] != "deny" {
		t.Errorf("EPM's outcome is %q", ext)
	}
	if _, ext := readCEF(t, lines[5]); ext["externalId"] != "settings" || !strings.HasPrefix(ext["msg"], "category:  -> =HYPERLINK") {
		t.Errorf("the setting is %q", ext)
	}
}

// hash0 is the hash of the decision.
func hash0(t *testing.T, d *desk) string {
	t.Helper()
	m := regexp.MustCompile(`"n":3,.*"hash":"([0-9a-f]{64})"`).FindStringSubmatch(d.prints("", "audit", "export", "--ticket", "jit-1001"))
	if m == nil {
		t.Fatal("no third event")
	}
	return m[1]
}

// readCEF reads a line as the standard says: in the header \\ and \| are
// escaped, in the extension \\, \= and \n; a key is a word before an = that is
// not escaped.
func readCEF(t *testing.T, line string) (header []string, ext map[string]string) {
	t.Helper()
	var part strings.Builder
	i := 0
	for ; len(header) < 7 && i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && (line[i+1] == '\\' || line[i+1] == '|'):
			i++
			part.WriteByte(line[i])
		case c == '|':
			header = append(header, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	ext = map[string]string{}
	pairs := regexp.MustCompile(`(?:^| )([A-Za-z0-9]+)=`)
	rest := line[i:]
	at := pairs.FindAllStringSubmatchIndex(rest, -1)
	for j, m := range at {
		end := len(rest)
		if j+1 < len(at) {
			end = at[j+1][0]
		}
		value := rest[m[1]:end]
		if strings.Contains(strings.NewReplacer(`\\`, "", `\=`, "").Replace(value), "=") {
			t.Errorf("%q has an = that is not escaped", value)
		}
		key := rest[m[2]:m[3]]
		if _, twice := ext[key]; twice {
			t.Errorf("%s stands twice", key)
		}
		ext[key] = strings.NewReplacer(`\\`, `\`, `\=`, `=`, `\n`, "\n").Replace(value)
	}
	return header, ext
}

func TestAuditExportSelects(t *testing.T) {
	d, _ := auditDesk(t)
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"--ticket", "JIT-1001"}, 4},
		{[]string{"--ticket", "JIT-1002"}, 1},
		{[]string{"--since", "2026-02-01"}, 3},
		{[]string{"--since", "2026-02-01T13:05:01Z"}, 1},
		{[]string{"--since", "1h"}, 7},
		{[]string{"--since", "2026-01-31T12:05:01Z"}, 6},
		{[]string{"--since", "2026-02-01", "--ticket", "JIT-1001"}, 2},
	} {
		if got := strings.Count(d.prints("", append([]string{"audit", "export"}, c.args...)...), "\n"); got != c.want {
			t.Errorf("%v exports %d lines, want %d", c.args, got, c.want)
		}
	}
	for _, args := range [][]string{{"--format", "xml"}, {"--since", "yesterday"}, {"--ticket", "JIT-9"}, {"--ticket", "OTHER-1001"}, {"--ticket", "x"}} {
		if got, err := d.types(append([]string{"audit", "export"}, args...)...); err == nil {
			t.Errorf("%v prints %q, want an error", args, got)
		}
	}
}

func TestEvidence(t *testing.T) {
	d, path := auditDesk(t)
	file := filepath.Join(t.TempDir(), "evidence.json")
	d.prints("", "tickets", "show", "--evidence", "JIT-1001", "--out", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want it readable by its owner alone", info.Mode(), err)
	}
	var e evidence
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	if e.Evidence != 1 || e.Number != "JIT-1001" || len(e.Findings) != 0 || e.Checkpoint == nil || e.Checkpoint.Events != 4 || len(e.Webhooks) != 2 {
		t.Errorf("evidence %+v", e)
	}
	if found := store.VerifyForm(1001, []byte(e.Form)); len(found) > 0 {
		t.Errorf("the form in the file: %v", found)
	}
	if w := e.Webhooks[0]; w.ID != "in-a" || string(w.Body) != `{"RequestId":"a"}` || w.SHA256 != tickets.Digest(w.Body) || w.Status != tickets.StatusCreated {
		t.Errorf("webhook %+v", w)
	}
	if e.Settings == nil || e.Settings.Values[tickets.KeyCategory] != hostileText || len(e.Settings.Changes) != 1 {
		t.Errorf("settings %+v; want those of the decision", e.Settings)
	}
	if got := d.prints(`"number": "JIT-1001"`, "tickets", "show", "--evidence", "JIT-1001"); strings.ContainsAny(got, "\u202e\x00") {
		t.Error("it holds what acts on a terminal")
	}
	change(t, path, 1001, "quoted", "quotes")
	d.prints(`"fault": "record_mismatch"`, "tickets", "show", "--evidence", "jit-1001")
	for _, args := range [][]string{{"--evidence", "JIT-7"}, {"--evidence", "JIT-1001", "--json"}, {"JIT-1001", "--out", file}, {"--evidence", "JIT-1001", "--out", file}} {
		if got, err := d.types(append([]string{"tickets", "show"}, args...)...); err == nil {
			t.Errorf("%v prints %q, want an error", args, got)
		}
	}
}

func TestAuditFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "audit.md"))
	if err != nil {
		t.Fatal(err)
	}
	var columns, fields []string
	for _, c := range auditColumns {
		columns = append(columns, "`"+c.name+"`")
	}
	for _, f := range cefFields {
		name := "`" + f.key + "`"
		if label := cefLabels[f.key]; label != "" {
			name += " (" + label + ")"
		}
		fields = append(fields, name)
	}
	for _, want := range []string{strings.Join(columns, ", "), strings.Join(fields, ", ")} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/audit.md does not tell of %s", want)
		}
	}
}
