package sinkstest

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	const ok = `<109>1 2026-01-31T13:05:00.123456Z host app - ID [x@1 a="b\"\]\\ ö" c=""][y d="e"] text`
	m, err := Parse(ok)
	if v, _ := m.Param("x@1", "a"); err != nil || m.Facility != 13 || m.Severity != 5 || v != `b"]\ ö` || m.Text != "text" || m.Process != "" || len(m.Data) != 2 {
		t.Fatalf("Parse = %+v, %v", m, err)
	}
	for name, s := range map[string]string{
		"NoPriority":     strings.TrimPrefix(ok, "<109>"),
		"HighPriority":   strings.Replace(ok, "109", "192", 1),
		"OtherVersion":   strings.Replace(ok, ">1 ", ">2 ", 1),
		"Nanoseconds":    strings.Replace(ok, ".123456", ".1234567", 1),
		"NoZone":         strings.Replace(ok, "Z host", " host", 1),
		"EmptyField":     strings.Replace(ok, "app", "", 1),
		"ForeignHost":    strings.Replace(ok, "host", "höst", 1),
		"LongKind":       strings.Replace(ok, "ID", strings.Repeat("I", 33), 1),
		"NoData":         strings.Replace(ok, ok[strings.Index(ok, "["):], "text", 1),
		"OpenValue":      strings.Replace(ok, `e"]`, `e]`, 1),
		"BareBracket":    strings.Replace(ok, `\]`, `]`, 1),
		"ControlInValue": strings.Replace(ok, "ö", "\n", 1),
		"NotUTF8":        strings.Replace(ok, "ö", "\xff", 1),
		"Twice":          strings.Replace(ok, "[y", "[x@1", 1),
		"Glued":          strings.Replace(ok, "] text", "]text", 1),
		"TextNotASCII":   ok + "ö",
		"LineInText":     ok + "\nmore",
		"NULInText":      ok + "\x00",
	} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%s: %q is taken", name, s)
		}
	}
	if _, err := Parse(strings.Replace(ok, "text", "\ufefföl", 1)); err != nil {
		t.Errorf("UTF-8 behind a mark: %v", err)
	}
}

func TestFrames(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("3 abc2 \n\n"))
	for _, want := range []string{"abc", "\n\n"} {
		if got, err := frame(r, 10); got != want || err != nil {
			t.Errorf("frame = %q, %v", got, err)
		}
	}
	if _, err := frame(r, 10); !errors.Is(err, io.EOF) {
		t.Errorf("at the end = %v", err)
	}
	for _, s := range []string{"03 abc", "<13>", "11 abcdefghijk", " x", "x"} {
		if _, err := frame(bufio.NewReader(strings.NewReader(s)), 10); !errors.Is(err, errFraming) {
			t.Errorf("frame(%q) = %v", s, err)
		}
	}
	for _, s := range []string{"3", "3 ab"} {
		if _, err := frame(bufio.NewReader(strings.NewReader(s)), 10); err == nil || errors.Is(err, errFraming) {
			t.Errorf("frame(%q) = %v", s, err)
		}
	}
}
