package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/countersign/countersign/adapters/wording"
)

// column of a table: its heading, and how many characters wide it always is;
// 0 for the last one, which takes what is left of the line.
type column struct {
	name  string
	width int
}

type table []column

// printer writes to people and scripts. Its first error is kept for end.
type printer struct {
	w     *bufio.Writer
	width int // of the terminal in characters; 0 if it is none: nothing is cut then
	err   error
}

func newPrinter(w io.Writer) *printer {
	o := &printer{w: bufio.NewWriter(w)}
	if t, ok := w.(*terminal); ok {
		if width, _, err := term.GetSize(int(t.file.Fd())); err == nil {
			o.width = width
		}
	}
	return o
}

func (o *printer) write(b []byte) {
	if o.err == nil {
		_, o.err = o.w.Write(b)
	}
}

// end writes what is left.
func (o *printer) end() error {
	if o.err == nil {
		o.err = o.w.Flush()
	}
	return o.err
}

// line writes a line of ours; what others wrote in it is already visible.
func (o *printer) line(format string, args ...any) {
	o.write(fmt.Appendf(nil, format+"\n", args...))
}

func (o *printer) head(t table) {
	names := make([]string, len(t))
	for i, c := range t {
		names[i] = c.name
	}
	o.row(t, names...)
}

// row writes cells, which may hold anything.
func (o *printer) row(t table, cells ...string) {
	var s strings.Builder
	used := 0
	for i, c := range t {
		cell := wording.Line(cells[i])
		if c.width == 0 {
			if o.width > 0 {
				cell = cutTo(cell, max(o.width-used, 10))
			}
			s.WriteString(cell)
			break
		}
		cell = cutTo(cell, c.width)
		s.WriteString(cell + strings.Repeat(" ", c.width-utf8.RuneCountInString(cell)+2))
		used += c.width + 2
	}
	o.line("%s", strings.TrimRight(s.String(), " "))
}

// cutTo shortens s to n characters.
func cutTo(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// escapeJSON is JSON in which no character acts on a terminal: what cannot be
// seen is written as \u….
func escapeJSON(b []byte) []byte {
	var out []byte
	for i, r := range string(b) {
		switch {
		case r < ' ', unicode.IsPrint(r):
			// As it stands: below a space JSON has nothing but line breaks
			// of ours.
			out = append(out, b[i:i+runeLen(b[i:])]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func runeLen(b []byte) int {
	_, n := utf8.DecodeRune(b)
	return n
}
